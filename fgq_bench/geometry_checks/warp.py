"""Depth check: a frame's depth, moved into the next frame with both poses, must agree with that frame's own depth.

The median forgives what is hidden from one of the two cameras and depth that is wrong at edges. Depth that is shifted
against the pictures in every frame alike (the raw depth of 7-Scenes) still agrees with itself: that is not seen here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fgq_bench.geometry import transform_points, unproject_depth
from fgq_bench.geometry_checks.pairs import PairMedian, neighbours
from fgq_bench.loaders.scene import Scene

ENOUGH = 200  # pixels along the longer side that are moved at least; of more, every second or third


def depth_disagreement(scene: Scene, pairs: list[tuple[int, int]] | None = None) -> PairMedian | None:
    """Median of |z that frame a predicts for a pixel of frame b - b's depth there|, metres, over both directions.

    None where the scene has no poses, intrinsics or depth, or where depth has another resolution than the pictures,
    which its intrinsics belong to.

    Args:
        scene: two frames or more.
        pairs: of frames (default: every frame with the next one).
    """
    if scene.extrinsics is None or scene.intrinsics is None or scene.depth is None or scene.mask is None:
        return None
    if scene.depth.shape[-2:] != scene.images.shape[-2:]:
        return None
    extrinsics, intrinsics, depth = scene.extrinsics.double(), scene.intrinsics.double(), scene.depth.double()
    step = max(1, max(depth.shape[-2:]) // ENOUGH)
    points = unproject_depth(depth, extrinsics, intrinsics)[:, ::step, ::step]
    valid = scene.mask[:, ::step, ::step]
    found = []
    for one, other in pairs or neighbours(len(depth)):
        for a, b in ((one, other), (other, one)):
            seen = transform_points(extrinsics[b], points[a])[valid[a]]
            found.append(_difference(seen, intrinsics[b], depth[b], scene.mask[b]))
    values = torch.cat(found)
    median = float(values.median()) if len(values) else math.inf
    return PairMedian(median, len(values), sum(map(bool, map(len, found))) // 2)


def _difference(
    points: Tensor,  # [N, 3] in the camera's coordinates, metres
    intrinsics: Tensor,  # [3, 3] pixels
    depth: Tensor,  # [H, W] metres
    mask: Tensor,  # [H, W] bool
) -> Tensor:
    """|z - depth at the pixel| of the points that the camera sees on a valid pixel, metres."""
    points = points[points[:, 2] > 0]
    pixels = points @ intrinsics.T
    columns, rows = (pixels[:, :2] / pixels[:, 2:]).floor().unbind(-1)
    inside = (columns >= 0) & (columns < depth.shape[1]) & (rows >= 0) & (rows < depth.shape[0])
    at = (rows[inside].long(), columns[inside].long())
    valid = mask[at]
    return (points[inside, 2] - depth[at])[valid].abs()
