"""Epipolar check: a point seen in two frames must lie on the line that poses and intrinsics predict for it.

It needs no depth. It tells misread poses from right ones, but hardly a focal length that is wrong by a fifth. Points are
matched with SIFT (Lowe, IJCV 2004) from OpenCV, an optional dependency; only matches that some epipolar geometry
explains together, whatever the poses say, are compared (RANSAC, Fischler and Bolles 1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fgq_bench.errors import UserError
from fgq_bench.geometry_checks.pairs import PairError, Window, misread, pairs, relative_pose

RATIO = 0.75  # best distance over second best, at most (Lowe, section 7.1, has 0.8)
FEWEST = 30  # matches of a pair that agree; below, they may agree by chance
AGREEING = 0.5  # of a pair's matches, at least
INLIER = 2.0  # pixels from its line that a match may lie to agree with the others
PRECISION = 0.5  # pixels to which a point is found, at best
CLEAR = 5.0  # times the precision: what right poses may leave
STILL = 1e-6  # of a camera's distance from the origin: a step that single precision may have made up


@dataclass(frozen=True)
class Matches:
    """Points that two frames share and that one epipolar geometry explains."""

    frames: tuple[int, int]
    points: tuple[Tensor, Tensor]  # [N, 2] pixels each, pixel centres at +0.5
    residual: float = 0.0  # median distance from the lines of that geometry, pixels


def missing() -> str | None:
    """Why nothing can be matched here, None where it can."""
    return None if find_spec("cv2") else "OpenCV is not installed: pip install 'fgq-bench[check]'"


def match_frames(images: Tensor) -> list[Matches]:
    """What every frame of images [S, 3, H, W] shares with the next ones; raises UserError without OpenCV."""
    if (reason := missing()) is not None:
        raise UserError(reason)
    import cv2

    sift = cv2.SIFT.create()
    grey = (images.mean(1) * 255).round().byte().numpy()
    found = [sift.detectAndCompute(image, None) for image in grey]
    matched = [((a, b), _mutual(found[a], found[b])) for a, b in pairs(len(found))]
    return [agreed for frames, points in matched if (agreed := agreeing(frames, *points)) is not None]


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


def agreeing(
    frames: tuple[int, int],
    first: Tensor,  # [N, 2] pixels
    second: Tensor,  # [N, 2] pixels
) -> Matches | None:
    """The matches that agree on one epipolar geometry; None where they are few, or few of all. Needs OpenCV."""
    import cv2

    if len(first) < FEWEST:
        return None
    matrix, inliers = cv2.findFundamentalMat(first.numpy(), second.numpy(), cv2.FM_RANSAC, INLIER, 0.999)
    if matrix is None or inliers is None:
        return None
    kept = torch.from_numpy(inliers.ravel().astype(bool))
    if int(kept.sum()) < max(FEWEST, AGREEING * len(kept)):
        return None
    points = (first[kept], second[kept])
    fundamental = torch.from_numpy(np.asarray(matrix, dtype=np.float64)[:3])
    return Matches(frames, points, float(_line_distances(fundamental, points).median()))


def epipolar_errors(window: Window, matches: list[Matches]) -> list[PairError]:
    """Median distances of matched points from their epipolar lines, pixels; the scene has poses and intrinsics.

    The distance of a match is the mean of that in one frame and that in the other. A camera that did not move leaves
    each point where it was.
    """
    scene, found = window.scene, []
    inverted = misread(scene).extrinsics
    assert scene.extrinsics is not None and scene.intrinsics is not None and inverted is not None
    for match in matches:
        a, b = match.frames
        read, swapped = (
            float(_distances(poses.double(), scene.intrinsics.double(), match).median())
            for poses in (scene.extrinsics, inverted)
        )
        still = float((match.points[1] - match.points[0]).norm(dim=1).median())
        noise = CLEAR * max(match.residual, PRECISION)
        names = (window.names[a], window.names[b])
        found.append(PairError(names, len(match.points[0]), read, swapped, still, noise))
    return found


def _distances(extrinsics: Tensor, intrinsics: Tensor, matches: Matches) -> Tensor:
    """Distances [N] of matches, pixels: from their lines, or from their places where the camera only turned."""
    a, b = matches.frames
    relative = relative_pose(extrinsics, a, b)
    if relative[:, 3].norm() <= STILL * extrinsics[b, :, 3].norm():
        turned = intrinsics[b] @ relative[:, :3] @ intrinsics[a].inverse()
        there = pad(matches.points[0], (0, 1), value=1.0) @ turned.T
        moved: Tensor = (there[:, :2] / there[:, 2:] - matches.points[1]).norm(dim=1)
        return moved
    x, y, z = relative[:, 3].tolist()
    cross = relative.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    fundamental = intrinsics[b].inverse().T @ cross @ relative[:, :3] @ intrinsics[a].inverse()
    return _line_distances(fundamental, matches.points)


def _line_distances(fundamental: Tensor, points: tuple[Tensor, Tensor]) -> Tensor:
    """Distances [N] of matched points from the epipolar lines of a fundamental matrix [3, 3], pixels."""
    first, second = (pad(each, (0, 1), value=1.0) for each in points)
    in_b, in_a = first @ fundamental.T, second @ fundamental  # lines [N, 3]
    off = (second * in_b).sum(1).abs()
    apart: Tensor = (off / in_b[:, :2].norm(dim=1) + off / in_a[:, :2].norm(dim=1)) / 2
    return apart
