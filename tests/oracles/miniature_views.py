"""A few views of a procedural scene, small, not square, off centre: what the miniature data sets show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgq_bench.loaders.procedural_scene import Family, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import render

WIDTH, HEIGHT = 64, 48
Floats = NDArray[np.float64]


@dataclass
class Views:
    """S views of a scene."""

    images: NDArray[np.uint8]  # [S, 48, 64, 3]
    depth: Floats  # [S, 48, 64] z-depth, metres
    w2c: Floats  # [S, 3, 4], OpenCV axes, metres
    intrinsics: Floats  # [3, 3] pixels


def render_views(number: int, frames: int) -> Views:
    """Views of the scene ``number``, cut out of a square picture so that the principal point is not in the middle."""
    size, left, top = 72, 6, 4
    scene = draw_scene(Family.ROOMS, Split.VALIDATION, number, frames)
    images, depth = render(stack_scenes([scene]), size, compile=False)
    focal = size / 2 / np.tan(float(scene.fov) / 2)
    rows, columns = slice(top, top + HEIGHT), slice(left, left + WIDTH)
    return Views(
        images[0].permute(0, 2, 3, 1).numpy()[:, rows, columns],
        depth[0].numpy()[:, rows, columns],
        scene.extrinsics,
        np.array([[focal, 0, size / 2 - left], [0, focal, size / 2 - top], [0, 0, 1]]),
    )
