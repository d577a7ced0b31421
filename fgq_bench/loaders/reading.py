"""Reading files that nobody vouches for: paths stay inside the data set, nothing is executed, errors name the file."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fgq_bench import bounded
from fgq_bench.errors import BadData
from fgq_bench.geometry import invert_rigid
from fgq_bench.loaders.arrays import read_npy

Floats = NDArray[np.float64]
FORMATS = ("JPEG", "PNG", "WEBP")  # what Pillow may take a file for: others (EPS) start programs
LARGEST = 2**29  # bytes of a stored picture
TEXT = 2**24  # bytes of a sequence's text file
JSON = 2**29  # bytes of a JSON file, unpacked: annotations of 1 million frames
VALUES = 2**25  # of a JSON file: a frame has about 25
MOST_PIXELS = 250_000_000  # of a picture: those of the largest sensors in phones have 200 million, and take 0.6 GB
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow's own limit, 89 million, refuses photographs
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
DAMAGED = (OSError, UnidentifiedImageError, SyntaxError, ValueError, *TOO_LARGE)


def inside(root: Path, *parts: str) -> Path:
    """``root`` joined with ``parts``, as a data set's own files name them; raises BadData where they lead outside.

    Links are followed: whoever makes a link on this machine (scenes on several disks) means it. Dots are resolved
    before that, in the names: what a file writes as ``link/../x`` is ``x``.
    """
    top, name = os.path.abspath(root), "/".join(parts)
    if not name.isprintable():
        raise BadData(f"{name!r} in {root} cannot be the name of a file")
    path = os.path.normpath(os.path.join(top, *parts))
    if not Path(path).is_relative_to(top):
        raise BadData(f"{name!r} leads out of the data set's folder {root}")
    return root / os.path.relpath(path, top)


@contextmanager
def named(path: Path, refusal: str) -> Iterator[None]:
    """Turn what keeps ``path`` from being read into BadData: the path, the ``refusal``, the reason."""
    try:
        yield
    except FileNotFoundError:
        raise BadData(f"{path}: no such file") from None
    except TOO_LARGE:
        most = f"{MOST_PIXELS // 10**6} million pixels"
        raise BadData(f"{path}: more than {most}, the most that is read; store it smaller") from None
    except DAMAGED as error:
        raise BadData(f"{path}: {refusal} ({_first_line(error)})") from None


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """A picture whose header is read; raises BadData for a missing or foreign file, and for what its reading meets."""
    with (
        named(path, "not a readable picture"),
        warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
        bounded.open_regular(path, LARGEST) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        yield image


def read_picture(path: Path) -> Image.Image:
    """A decoded picture; raises BadData for a missing, truncated or foreign file."""
    with open_picture(path) as image:
        image.load()
        return image


def read_integers(path: Path) -> NDArray[np.int64]:
    """Values [H, W] of a one-channel picture of integers (16-bit PNG); raises BadData."""
    image = read_picture(path)
    if image.mode not in ("I;16", "I;16B", "I"):
        raise BadData(f"{path}: a one-channel 16-bit picture is expected, this one is {image.mode}")
    return np.asarray(image).astype(np.int64)


def read_text(path: Path, limit: int = TEXT) -> str:
    """A text file of at most ``limit`` bytes; raises BadData."""
    with named(path, "not a readable text"):
        return bounded.read_text(path, limit)


def read_numbers(path: Path, *shape: int) -> Floats:
    """Numbers [``shape``] of a text file; raises BadData for another count or for words. NaN and inf are kept."""
    return parse_numbers(read_text(path), path, *shape)


def parse_numbers(text: str, path: Path, *shape: int) -> Floats:
    """Numbers [``shape``] in ``text``, which comes from ``path``; -1 in ``shape``: as many as there are."""
    try:
        if not text.isascii() or "_" in text:  # Python takes other alphabets' digits, and 1_000
            raise ValueError("digits are 0 to 9")
        count = -1 if -1 in shape else math.prod(shape)
        return np.array(text.split(maxsplit=count), dtype=np.float64).reshape(shape)
    except ValueError as error:
        raise BadData(f"{path}: {' x '.join(map(str, shape))} numbers are expected ({_first_line(error)})") from None


def invert_pose(pose: Floats) -> Floats:
    """w2c [3, 4] of c2w [3, 4] or [4, 4]."""
    return np.asarray(invert_rigid(torch.from_numpy(pose[:3])).numpy())


def read_array(path: Path) -> NDArray[Any]:
    """An ``.npy`` array without objects; raises BadData."""
    with named(path, "not a readable array"):
        return read_npy(path)


def read_json(path: Path) -> Any:
    """JSON, gzipped where the name ends in ``.jgz`` or ``.gz``; raises BadData. Numbers may be any, NaN too."""
    with named(path, "not readable as JSON"):
        read = bounded.read_gzip if path.suffix in (".jgz", ".gz") else bounded.read_bytes
        try:
            content = read(path, JSON)
            if content.count(b",") >= VALUES:
                raise ValueError(f"more than {VALUES} values")
            return json.loads(content)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["truncated or damaged"])[0][:200]
