"""Epipolar check: a point seen in two frames must lie on the line that poses and intrinsics predict for it.

It needs no depth. It tells misread poses from right ones, but hardly a focal length that is wrong by a fifth. Points are matched with SIFT (Lowe, IJCV 2004) from OpenCV, an optional dependency.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.geometry import compose_rigid, invert_rigid
from fgq_bench.geometry_checks.pairs import PairMedian, neighbours
from fgq_bench.loaders.scene import Scene

RATIO = 0.75  # best distance over second best, at most (Lowe, section 7.1, has 0.8)
FEWEST = 12  # matches of a pair; below, most of them may be wrong
STILL = 1e-6  # of a camera's distance from the origin: a step that single precision may have made up


@dataclass(frozen=True)
class Matches:
    """Points that two frames share."""

    frames: tuple[int, int]
    points: tuple[Tensor, Tensor]  # [N, 2] pixels each, pixel centres at +0.5


def missing() -> str | None:
    """Why nothing can be matched here, None where it can."""
    return None if find_spec("cv2") else "OpenCV is not installed: pip install 'fgq-bench[check]'"


def match_neighbours(images: Tensor) -> list[Matches]:
    """What every frame of images [S, 3, H, W] shares with the next; raises UserError without OpenCV."""
    if (reason := missing()) is not None:
        raise UserError(reason)
    import cv2

    sift = cv2.SIFT.create()
    grey = (images.mean(1) * 255).round().byte().numpy()
    found = [sift.detectAndCompute(image, None) for image in grey]
    return [Matches((a, b), _mutual(found[a], found[b])) for a, b in neighbours(len(found))]


def _mutual(one: Any, other: Any) -> tuple[Tensor, Tensor]:
    """Points that are each other's best match, clearly ahead of the second best, of (key points, descriptors)."""
    there, back = _best(one[1], other[1]), _best(other[1], one[1])
    kept = [(a, b) for a, b in there.items() if back.get(b) == a]
    places = [[one[0][a].pt for a, _ in kept], [other[0][b].pt for _, b in kept]]
    first, second = (torch.tensor(points, dtype=torch.float64).reshape(-1, 2) + 0.5 for points in places)
    return first, second


def _best(query: Any, train: Any) -> dict[int, int]:
    import cv2

    if query is None or train is None or len(train) < 2:
        return {}
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(query, train, k=2)
    return {best.queryIdx: best.trainIdx for best, second in pairs if best.distance < RATIO * second.distance}


def epipolar_distance(scene: Scene, matches: list[Matches]) -> PairMedian | None:
    """Median distance of matched points from their epipolar lines, pixels of the scene's pictures.

    The distance of a match is the mean of that in one frame and that in the other. None where the scene has no poses
    or intrinsics, or where no pair of frames shares enough points.
    """
    if scene.extrinsics is None or scene.intrinsics is None:
        return None
    used = [match for match in matches if len(match.points[0]) >= FEWEST]
    found = [_distances(scene.extrinsics.double(), scene.intrinsics.double(), match) for match in used]
    moved = [distances for distances in found if len(distances)]
    if not moved:
        return None
    values = torch.cat(moved)
    return PairMedian(float(values.median()), len(values), len(moved))


def _distances(extrinsics: Tensor, intrinsics: Tensor, matches: Matches) -> Tensor:
    """Distances [N] of matches, pixels; none where the camera did not move, and there are no epipolar lines."""
    a, b = matches.frames
    relative = compose_rigid(extrinsics[b], invert_rigid(extrinsics[a]))  # from a's coordinates to b's
    if relative[:, 3].norm() <= STILL * extrinsics[b, :, 3].norm():
        return relative.new_zeros(0)
    x, y, z = relative[:, 3].tolist()
    cross = relative.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    fundamental = intrinsics[b].inverse().T @ cross @ relative[:, :3] @ intrinsics[a].inverse()
    first, second = (torch.nn.functional.pad(points, (0, 1), value=1.0) for points in matches.points)
    in_b, in_a = first @ fundamental.T, second @ fundamental  # lines [N, 3]
    off = (second * in_b).sum(1).abs()
    apart: Tensor = (off / in_b[:, :2].norm(dim=1) + off / in_a[:, :2].norm(dim=1)) / 2
    return apart
