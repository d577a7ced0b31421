"""A picture's size from its header, without decoding it, and whether intrinsics in pixels fit it."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from fgq_bench.errors import BadData
from fgq_bench.loaders.reading import DAMAGED, FORMATS, Floats, unreadable

OFF_CENTRE = 0.2  # of the picture's side: how far a camera's principal point lies from the middle at most


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, pixels; raises BadData for a missing or foreign file."""
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path, formats=FORMATS) as image,
        ):
            return image.size
    except FileNotFoundError:
        raise BadData(f"{path}: no such file") from None
    except DAMAGED as error:
        raise unreadable(path, error) from None


def check_centre(intrinsics: Floats, image: Path, size: tuple[int, int]) -> None:
    """Raise BadData where intrinsics [3, 3] in pixels belong to a picture of another size than ``image`` has."""
    for value, side, axis in zip(intrinsics[:2, 2], size, ("x", "y"), strict=True):
        if abs(value / side - 0.5) > OFF_CENTRE:
            raise BadData(f"{image}: {size[0]} x {size[1]} pixels do not fit a principal point at {axis} = {value:.1f}; was the picture resized?")  # fmt: skip
