"""Depth moved from frame to frame: with right poses it agrees with the other frame's own depth.

What is compared is the first quartile, which forgives what is hidden from one of the two cameras and depth that is wrong
at edges. Depth that is shifted against the pictures in every frame alike (the raw depth of 7-Scenes) still agrees with
itself: that is not seen here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fgq_bench.geometry import invert_rigid, transform_points, unproject_depth
from fgq_bench.geometry_checks.pairs import PairError, Window, misread, no_motion, pairs, relative_pose
from fgq_bench.loaders.scene import Scene

ENOUGH = 64  # pixels along the longer side that are moved
OVERLAP = 0.1  # of the pixels must be seen by both frames
QUARTILE = 0.25
NOISE = 0.01  # of the depth: what a depth camera leaves with right poses


class Warper:
    """The depth maps of a scene, thinned out, ready to be moved from frame to frame."""

    def __init__(self, scene: Scene) -> None:
        assert scene.intrinsics is not None and scene.depth is not None and scene.mask is not None
        self.intrinsics, self.depth, self.mask = scene.intrinsics.double(), scene.depth.double(), scene.mask
        step = math.ceil(max(self.depth.shape[-2:]) / ENOUGH)
        local = unproject_depth(self.depth, no_motion().expand(len(self.depth), 3, 4), self.intrinsics)
        kept = scene.mask[:, ::step, ::step]
        self.points = [points[valid] for points, valid in zip(local[:, ::step, ::step], kept, strict=True)]

    def disagreement(self, a: int, b: int, relative: Tensor) -> tuple[float, int]:
        """First quartile of |moved depth / own depth - 1| in both directions, and of how many pixels.

        ``inf`` where fewer than ``OVERLAP`` of the pixels are seen by both.

        Args:
            relative: pose from a's camera coordinates to b's [3, 4], in the unit of depth.
        """
        there, back = self._changes(a, b, relative), self._changes(b, a, invert_rigid(relative))
        changes = torch.cat([there, back])
        moved = len(self.points[a]) + len(self.points[b])
        if not len(changes) or len(changes) < OVERLAP * moved:
            return math.inf, 0
        return float(changes.kthvalue(math.ceil(QUARTILE * len(changes))).values), len(changes)

    def _changes(self, a: int, b: int, relative: Tensor) -> Tensor:
        """|z / depth at the pixel - 1| [N] of frame a's points that frame b sees on a valid pixel."""
        points = transform_points(relative, self.points[a][None])[0]
        points = points[points[:, 2] > 0]
        pixels = points @ self.intrinsics[b].T
        columns, rows = (pixels[:, :2] / pixels[:, 2:]).floor().unbind(-1)
        height, width = self.depth.shape[-2:]
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        at = (rows[inside].long(), columns[inside].long())
        valid = self.mask[b][at]
        return (points[inside, 2][valid] / self.depth[b][at][valid] - 1).abs()


def depth_errors(window: Window) -> list[PairError]:
    """What the pairs of a window leave, as shares of the depth; the scene has poses, intrinsics, depth and mask."""
    scene = window.scene
    assert scene.extrinsics is not None
    warper, read = Warper(scene), scene.extrinsics.double()
    inverted = misread(scene).extrinsics
    assert inverted is not None
    found = []
    for a, b in pairs(len(read)):
        left, samples = warper.disagreement(a, b, relative_pose(read, a, b))
        swapped, _ = warper.disagreement(a, b, relative_pose(inverted.double(), a, b))
        still, _ = warper.disagreement(a, b, no_motion())
        found.append(PairError((window.names[a], window.names[b]), samples, left, swapped, still, NOISE))
    return found
