"""Reading files that nobody vouches for: paths stay inside the data set, nothing is executed, errors name the file."""

from __future__ import annotations

import gzip
import json
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fgq_bench.errors import BadData, UserError
from fgq_bench.geometry import invert_rigid

Floats = NDArray[np.float64]
FORMATS = ("JPEG", "PNG", "WEBP")  # what Pillow may take a file for: others (EPS) start programs
MOST_PIXELS = 250_000_000  # of a picture: those of the largest sensors in phones have 200 million, and take 0.6 GB
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow's own limit, 89 million, refuses photographs
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
DAMAGED = (OSError, UnidentifiedImageError, SyntaxError, ValueError, *TOO_LARGE)


def inside(root: Path, *parts: str) -> Path:
    """``root`` joined with ``parts``, as a data set's own files name them; raises BadData where they lead outside.

    Links are followed: whoever makes a link on this machine (scenes on several disks) means it.
    """
    path = root.joinpath(*parts)
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)):
        raise BadData(f"{'/'.join(parts)!r} leads out of the data set's folder {root}")
    return path


def read_picture(path: Path) -> Image.Image:
    """A decoded picture; raises BadData for a missing, truncated or foreign file."""
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path, formats=FORMATS) as image,
        ):
            image.load()
            return image
    except FileNotFoundError:
        raise BadData(f"{path}: no such file") from None
    except DAMAGED as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> BadData:
    """What to raise for a picture that Pillow refuses with one of ``DAMAGED``."""
    if isinstance(error, TOO_LARGE):
        return BadData(
            f"{path}: more than {MOST_PIXELS // 10**6} million pixels, the most that is read; store it smaller"
        )
    return BadData(f"{path}: not a readable picture ({_first_line(error)})")


def read_integers(path: Path) -> NDArray[np.int64]:
    """Values [H, W] of a one-channel picture of integers (16-bit PNG); raises BadData."""
    image = read_picture(path)
    if image.mode not in ("I;16", "I;16B", "I"):
        raise BadData(f"{path}: a one-channel 16-bit picture is expected, this one is {image.mode}")
    return np.asarray(image).astype(np.int64)


def read_text(path: Path) -> str:
    """A text file; raises BadData."""
    try:
        return path.read_text(encoding="utf-8-sig")  # without the mark that Windows' editors put first
    except FileNotFoundError:
        raise BadData(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: not a readable text ({_first_line(error)})") from None


def read_numbers(path: Path, *shape: int) -> Floats:
    """Numbers [``shape``] of a text file; raises BadData for another count or for words. NaN and inf are kept."""
    return parse_numbers(read_text(path), path, *shape)


def parse_numbers(text: str, path: Path, *shape: int) -> Floats:
    """Numbers [``shape``] in ``text``, which comes from ``path``; -1 in ``shape``: as many as there are."""
    try:
        return np.array(text.split(), dtype=np.float64).reshape(shape)
    except ValueError as error:
        raise BadData(f"{path}: {' x '.join(map(str, shape))} numbers are expected ({_first_line(error)})") from None


def invert_pose(pose: Floats) -> Floats:
    """w2c [3, 4] of c2w [3, 4] or [4, 4]."""
    return np.asarray(invert_rigid(torch.from_numpy(pose[:3])).numpy())


def read_array(path: Path) -> NDArray[Any]:
    """An ``.npy`` array without objects; raises BadData."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        raise BadData(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise BadData(f"{path}: not a readable array ({_first_line(error)})") from None


def read_json(path: Path) -> Any:
    """JSON, gzipped where the name ends in ``.jgz`` or ``.gz``; raises UserError: an index, not one sequence, is broken."""
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix in (".jgz", ".gz") else data)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({_first_line(error)})") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["truncated or damaged"])[0][:200]
