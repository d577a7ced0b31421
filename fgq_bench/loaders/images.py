"""From a stored picture to a model's input: resize and crop, and what that does to intrinsics and depth maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fgq_bench.cards import ProtocolEntry
from fgq_bench.errors import BadData

LONGEST = 20  # times as long as wide: what is longer is refused before it fills the memory
THINNEST = 28  # pixels of an input's shorter side: one patch shows nothing
PATCH = 14  # pixels; sides of an input are multiples of it


@dataclass(frozen=True)
class Warp:
    """Where a picture's points end up: x' = ``scale_x`` * x + ``shift_x`` (pixels, edges at whole numbers), y alike."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    width: int  # of the result
    height: int

    def shifted(self, x: int, y: int, width: int, height: int) -> Warp:
        """Cut or padded to ``width`` x ``height`` after moving everything by (x, y)."""
        return replace(self, shift_x=self.shift_x + x, shift_y=self.shift_y + y, width=width, height=height)

    def resized(self, width: int, height: int) -> Warp:
        """Stretched to ``width`` x ``height``."""
        x, y = width / self.width, height / self.height
        return Warp(self.scale_x * x, self.scale_y * y, self.shift_x * x, self.shift_y * y, width, height)

    def intrinsics(self, matrix: Tensor) -> Tensor:
        """Intrinsics [3, 3] of the warped picture."""
        change = matrix.new_tensor([[self.scale_x, 0, self.shift_x], [0, self.scale_y, self.shift_y], [0, 0, 1]])
        return change @ matrix

    def depth(self, depth: NDArray[np.float32], image_wh: tuple[int, int]) -> NDArray[np.float32]:
        """The nearest values [height, width] of a map [h, w] that covers the picture of size ``image_wh``; 0 outside."""
        rows, columns = depth.shape
        x = (np.arange(self.width) + 0.5 - self.shift_x) / self.scale_x * (columns / image_wh[0])
        y = (np.arange(self.height) + 0.5 - self.shift_y) / self.scale_y * (rows / image_wh[1])
        inside = ((y >= 0) & (y < rows))[:, None] & ((x >= 0) & (x < columns))[None]
        i, j = (np.clip(np.floor(v).astype(np.intp), 0, n - 1) for v, n in ((y, rows), (x, columns)))
        found: NDArray[np.float32] = np.where(inside, depth[i[:, None], j[None]], np.float32(0))
        return found


def over_white(image: Image.Image) -> Image.Image:
    """RGB; transparent pixels become white."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    front = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", front.size, "white"), front).convert("RGB")


def multiple(size: float) -> int:
    """The nearest positive multiple of the patch size."""
    return max(round(size / PATCH), 1) * PATCH


def fit(
    image: Image.Image, entry: ProtocolEntry, aspect: float | None = None, first: Warp | None = None
) -> tuple[Tensor, Warp]:
    """The picture [3, H, W] in [0, 1] as ``entry`` wants it, with its warp.

    - ``crop`` (VGGT's): bicubic to ``width``, the height follows in multiples of 14; what is taller than wide is cut to
      a square about its centre. Where ``width`` is not a multiple of 14 (FGQ: 512) a bilinear step down follows.
    - ``pad`` (VGGT's): the longer side becomes ``width``, white fills the square.
    - ``squash``: ``width`` x ``height``, whatever the picture's shape.
    - ``keep`` (π³'s evaluation): as ``crop``, but Lanczos, and nothing is cut off.
    - ``cover`` (CUT3R's, QuantVGGT's point maps): Lanczos to the least size, of the picture's own shape, that covers
      ``width`` x ``height``, then cut to that about its centre.
    - ``area`` (π³'s demo): Lanczos to at most ``pixels`` pixels, both sides multiples of 14 (``area_size``), all
      pictures of a sequence to the size of its ``first``.

    Raises BadData for what is no photograph.

    Args:
        aspect: true width / height where it is not that of the stored pixels (frames that were squashed on disk).
        first: what became of the sequence's first picture; None: this is it.
    """
    if image.mode.startswith(("I", "F")):
        raise BadData(f"a picture of 8 bits per channel is expected, this one is {image.mode}")
    _check_shape(image.width, image.height, f"{image.width} x {image.height} pixels")
    wide, high = image.size if aspect is None else (aspect, 1.0)
    _check_shape(wide, high, f"{image.width} x {image.height} pixels that show {wide / high:.3g} : 1")
    size = _size(entry, wide, high, first)
    if min(size) < THINNEST:
        raise BadData(f"{image.width} x {image.height} pixels become {size[0]} x {size[1]}; at least {THINNEST} are needed each way")  # fmt: skip
    picture = over_white(image)
    warp = Warp(1, 1, 0, 0, picture.width, picture.height).resized(*size)
    smooth = Image.Resampling.LANCZOS if entry.resize in ("keep", "area", "cover") else Image.Resampling.BICUBIC
    array = np.asarray(picture.resize(size, smooth), dtype=np.float32)
    pixels = torch.from_numpy(array.copy()).permute(2, 0, 1) / 255
    if entry.resize in ("crop", "cover"):
        columns, rows = min(size[0], entry.width), min(size[1], entry.height or entry.width)
        left, top = (size[0] - columns) // 2, (size[1] - rows) // 2
        pixels = pixels[:, top : top + rows, left : left + columns]
        warp = warp.shifted(-left, -top, columns, rows)
    elif entry.resize == "pad":
        left, top, right, bottom = margins(warp, entry.width, entry.width)
        pixels = F.pad(pixels, (left, right, top, bottom), value=1.0)
        warp = warp.shifted(left, top, entry.width, entry.width)
    width, height = warp.width // PATCH * PATCH, warp.height // PATCH * PATCH
    if (width, height) != (warp.width, warp.height):
        pixels = F.interpolate(pixels[None], (height, width), mode="bilinear", antialias=True)[0]
        pixels, warp = pixels.clamp(0, 1), warp.resized(width, height)
    return pixels, warp


def _check_shape(wide: float, high: float, what: str) -> None:
    if not 1 / LONGEST <= wide / high <= LONGEST:  # also of NaN
        raise BadData(f"{what} are no photograph: more than {LONGEST} times as long as wide")


def _size(entry: ProtocolEntry, wide: float, high: float, first: Warp | None) -> tuple[int, int]:
    """Width and height that a picture of the shape ``wide`` x ``high`` is resampled to, before anything is cut."""
    if entry.pixels is not None:
        return (first.width, first.height) if first else area_size(wide, high, entry.pixels)
    if entry.resize == "squash":
        return entry.width, entry.height or entry.width
    if entry.resize == "cover":
        assert entry.height is not None  # the card sees to it
        scale = max(entry.width / wide, entry.height / high) + 1e-8  # what covers exactly is not rounded down
        return int(wide * scale), int(high * scale)
    if entry.resize != "pad" or wide >= high:
        return entry.width, multiple(high * (entry.width / wide))
    return multiple(wide * (entry.width / high)), entry.width


def area_size(wide: float, high: float, pixels: int) -> tuple[int, int]:
    """Width and height of at most ``pixels`` pixels, multiples of 14, for a picture of ``wide`` x ``high`` (π³'s demo).

    Scaled to ``pixels``, up or down, and rounded; while that is too many, 14 come off the side that is too long for the
    picture's shape.
    """
    scale = (pixels / (wide * high)) ** 0.5
    columns, rows = (max(round(scale * side / PATCH), 1) for side in (wide, high))
    while columns * rows * PATCH**2 > pixels and (columns, rows) != (1, 1):
        if rows == 1 or (columns > 1 and columns / rows > wide / high):
            columns -= 1
        else:
            rows -= 1
    return columns * PATCH, rows * PATCH


def margins(warp: Warp, width: int, height: int) -> tuple[int, int, int, int]:
    """Pixels left, above, right and below of a picture in the middle of a larger one."""
    left, top = (width - warp.width) // 2, (height - warp.height) // 2
    return left, top, width - warp.width - left, height - warp.height - top
