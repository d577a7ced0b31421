"""COLMAP's text format: cameras.txt and images.txt of an undistorted reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fgq_bench.errors import BadData
from fgq_bench.geometry import quaternion_to_matrix
from fgq_bench.loaders.reading import Floats, parse_numbers, read_text

POINTS = 2**28  # bytes of images.txt: it holds every point that a picture sees


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
    for line in _lines(path)[::2]:  # each is followed by one of 2D points, which may be empty
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise BadData(f"{path}: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME is expected, not {line[:60]!r}")
        if words[8] not in cameras:
            raise BadData(f"{path}: picture {words[9]!r} has camera {words[8]}, which cameras.txt has not")
        pose = parse_numbers(" ".join(words[1:8]), path, 7)
        rotation = quaternion_to_matrix(torch.from_numpy(pose[[1, 2, 3, 0]])).numpy()  # wxyz in the file
        images.append(ColmapImage(words[9].strip(), np.column_stack([rotation, pose[4:]]), *cameras[words[8]]))
    return images


def _read_cameras(path: Path) -> dict[str, tuple[Floats, tuple[float, float]]]:
    """Intrinsics and size by camera: CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy."""
    cameras = {}
    for line in filter(None, _lines(path)):
        words = line.split()
        if words[1:2] != ["PINHOLE"]:
            raise BadData(f"{path}: {line[:60]!r} is no PINHOLE camera: that of undistorted pictures is expected")
        width, height, fx, fy, cx, cy = parse_numbers(" ".join(words[2:]), path, 6).tolist()
        cameras[words[0]] = (np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), (width, height))
    return cameras


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path, POINTS).splitlines() if not line.startswith("#")]
