"""Verdicts: is a scene's geometry read rightly? Each number is set beside the one that inverted poses give.

Measured on real samples, at the size of a model's input: depth disagrees by 0.4 % of its median (7-Scenes depth camera;
0.6 % read as raw depth at the colour camera's focal length) and by 6 % with inverted poses; points lie 0.2-0.9 px from
their epipolar lines (RealEstate10K, 7-Scenes, CO3D) and 1.4-45 px with inverted poses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fgq_bench.geometry_checks.epipolar import epipolar_distance, match_neighbours, missing
from fgq_bench.geometry_checks.pairs import PairMedian, misread
from fgq_bench.geometry_checks.warp import depth_disagreement
from fgq_bench.loaders.scene import Scene

DEPTH_LIMIT = 0.03  # of the scene's median depth
EPIPOLAR_LIMIT = 2.0  # pixels
CLEARLY = 2.0  # times smaller

State = Literal["ok", "suspicious", "undecided", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """What one check says of one scene."""

    check: str
    state: State
    why: str
    measured: PairMedian | None = None
    inverted: PairMedian | None = None  # the same with inverted poses
    limit: float | None = None  # that the measured median must not exceed


def judge_scene(scene: Scene) -> list[Verdict]:
    """Both checks of a scene of two frames or more."""
    return [judge_depth(scene), judge_epipolar(scene)]


def judge_depth(scene: Scene) -> Verdict:
    """Does depth, moved from frame to frame, agree? Metres."""
    if lacking := _lacking(scene, "extrinsics", "intrinsics", "depth"):
        return Verdict("depth", "not checked", lacking)
    right, wrong = depth_disagreement(scene), depth_disagreement(misread(scene))
    if right is None or wrong is None:
        return Verdict("depth", "not checked", "depth has another resolution than the pictures")
    assert scene.depth is not None and scene.mask is not None
    limit = DEPTH_LIMIT * float(scene.depth[scene.mask].median())
    cause = "poses, intrinsics or the unit of depth are misread"
    return judge("depth", right, wrong, limit, cause)


def judge_epipolar(scene: Scene) -> Verdict:
    """Do matched points lie on their epipolar lines? Pixels."""
    lacking = _lacking(scene, "extrinsics", "intrinsics") or missing()
    if lacking:
        return Verdict("epipolar", "not checked", lacking)
    matches = match_neighbours(scene.images)
    right, wrong = epipolar_distance(scene, matches), epipolar_distance(misread(scene), matches)
    if right is None or wrong is None:
        return Verdict("epipolar", "not checked", "too few points could be matched between the frames")
    return judge("epipolar", right, wrong, EPIPOLAR_LIMIT, "poses or intrinsics are misread, or frames are out of step")


def judge(check: str, right: PairMedian, wrong: PairMedian, limit: float, cause: str) -> Verdict:
    """Compare the poses as they were read (``right``) with inverted ones (``wrong``); ``cause``: of what exceeds the limit."""
    state: State = "suspicious"
    if not right.samples:
        why = "neighbouring frames do not see the same things: " + cause
    elif CLEARLY * wrong.median < right.median:
        why = "inverted poses fit better: camera-to-world is read as world-to-camera, or the other way round"
    elif right.median > limit:
        why = f"above the limit: {cause}"
    elif CLEARLY * right.median < wrong.median:
        state, why = "ok", "as it should be"
    else:
        state, why = "undecided", "below the limit, but inverted poses fit as well: the camera hardly turns"
    return Verdict(check, state, why, right, wrong, limit)


def _lacking(scene: Scene, *fields: str) -> str | None:
    absent = [{"extrinsics": "poses"}.get(field, field) for field in fields if getattr(scene, field) is None]
    if absent:
        return f"the data set has no {' and no '.join(absent)}"
    return "a single frame" if len(scene.images) < 2 else None
