"""EXIF orientation: a camera stores what its sensor saw, and beside it how the picture is to be turned."""

from __future__ import annotations

import struct

from PIL import Image, ImageFile

ORIENTATION = 0x0112  # EXIF tag; 1: as it is stored
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_of(image: Image.Image | ImageFile.ImageFile) -> Image.Transpose | None:
    """How a picture is to be turned; None: not at all, also where its EXIF data cannot be read."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except (
        OSError,
        ValueError,
        SyntaxError,
        KeyError,
        TypeError,
        struct.error,
    ):  # whatever broken EXIF data brings about
        return None


def upright(image: Image.Image) -> Image.Image:
    """The picture as its photographer held the camera."""
    turn = turn_of(image)
    return image if turn is None else image.transpose(turn)
