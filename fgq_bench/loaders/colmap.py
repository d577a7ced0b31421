"""COLMAP's text format: cameras.txt and images.txt of an undistorted reconstruction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fgq_bench.errors import BadData
from fgq_bench.geometry import quaternion_to_matrix
from fgq_bench.loaders.reading import Floats, parse_numbers, read_text

POINTS = 2**28  # bytes of images.txt: it holds every point that a picture sees
NUMBERS = re.compile(r"[-+0-9.eE\s]*")


@dataclass(frozen=True)
class ColmapImage:
    """One picture of a reconstruction."""

    name: str  # path as the file gives it: check where it leads
    extrinsics: Floats  # [3, 4] w2c
    intrinsics: Floats  # [3, 3] pixels
    size: tuple[float, float]  # width, height of the picture


def read_reconstruction(folder: Path) -> list[ColmapImage]:
    """The pictures of ``images.txt`` in its order; raises BadData for another camera model than PINHOLE."""
    path = folder / "images.txt"
    cameras = _read_cameras(folder / "cameras.txt")
    images = []
    for line in _lines(path):
        if _is_points(line):
            continue
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise BadData(f"{path}: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME is expected, not {line[:60]!r}")
        if words[8] not in cameras:
            raise BadData(f"{path}: picture {words[9]!r} has camera {words[8]}, which cameras.txt has not")
        pose = parse_numbers(" ".join(words[1:8]), path, 7)
        rotation = quaternion_to_matrix(torch.from_numpy(pose[[1, 2, 3, 0]])).numpy()  # wxyz in the file
        images.append(ColmapImage(words[9].strip(), np.column_stack([rotation, pose[4:]]), *cameras[words[8]]))
    _check_count(path, "images", len(images))
    if len({image.name for image in images}) < len(images):
        raise BadData(f"{path}: a picture is named twice")
    return images


def _is_points(line: str) -> bool:
    """Whether a line of images.txt is one of 2D points: X, Y and POINT3D_ID, any number of times.

    Each picture's line is followed by one, but where it was empty, programs that strip lines have dropped it.
    """
    return NUMBERS.fullmatch(line) is not None and len(line.split()) % 3 == 0


def _read_cameras(path: Path) -> dict[str, tuple[Floats, tuple[float, float]]]:
    """Intrinsics and size by camera: CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy."""
    cameras = {}
    for line in _lines(path):
        words = line.split()
        if words[1:2] != ["PINHOLE"]:
            raise BadData(f"{path}: {line[:60]!r} is no PINHOLE camera: that of undistorted pictures is expected")
        width, height, fx, fy, cx, cy = parse_numbers(" ".join(words[2:]), path, 6).tolist()
        cameras[words[0]] = (np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), (width, height))
    _check_count(path, "cameras", len(cameras))
    return cameras


def _lines(path: Path) -> list[str]:
    """Without comments and blank lines."""
    lines = (line.strip() for line in read_text(path, POINTS).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _check_count(path: Path, what: str, count: int) -> None:
    """Raise BadData where the head of a file states another number of ``what`` than ``count``."""
    stated = re.search(rf"^#.*Number of {what}: *([0-9]{{1,9}})", read_text(path, POINTS), re.MULTILINE)
    if stated and int(stated[1]) != count:
        raise BadData(f"{path}: {count} {what}, but its head says {stated[1]}")
