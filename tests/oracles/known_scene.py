"""A furnished room whose pictures, depth and cameras are known exactly: what miniature data sets are written from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from fgq_bench.loaders.procedural_scene import Family, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import render

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """S frames as one camera takes them."""

    images: NDArray[np.uint8]  # [S, H, W, 3]
    depth: Floats  # [S, H, W] metres
    w2c: Floats  # [S, 4, 4] OpenCV axes
    intrinsics: Floats  # [3, 3] pixels

    @property
    def c2w(self) -> Floats:
        """Camera to world [S, 4, 4]."""
        return np.asarray(np.linalg.inv(self.w2c), np.float64)


@cache
def known_scene(width: int, height: int, focal: float, frames: int = 3, top: int | None = None) -> Known:
    """Render ``frames`` pictures of ``width`` x ``height``, at most as high as wide.

    Args:
        focal: focal length, pixels.
        top: row of the square rendering that becomes the first; None: as many are cut off above as below.
    """
    arrays = draw_scene(Family.ROOMS, Split.TEST, 0, frames)
    arrays.fov = np.asarray(2 * math.atan(width / 2 / focal))
    images, depth = render(stack_scenes([arrays]), width, dtype=torch.float32, compile=False)
    first = (width - height) // 2 if top is None else top
    rows = slice(first, first + height)
    bottom = np.tile([[[0.0, 0, 0, 1]]], (frames, 1, 1))
    return Known(
        images[0].permute(0, 2, 3, 1).numpy()[:, rows],
        depth[0].double().numpy()[:, rows],
        np.concatenate([arrays.extrinsics, bottom], 1),
        np.array([[focal, 0, width / 2], [0, focal, width / 2 - first], [0, 0, 1]]),
    )
