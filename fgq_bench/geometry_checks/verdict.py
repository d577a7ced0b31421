"""Verdicts: is a sequence's geometry read rightly? Pairs of frames are judged one by one, each by contrast.

A pair fits if its poses explain the change between the frames clearly better than inverted poses do, and contradicts
them if they leave more than a share of it. Measured on real samples and on procedural scenes, at the size of a model's
input (``unexplained`` of right poses, at most; of a wrong pose, median):

- depth (7-Scenes, procedural): 0.30 and 1.0; the share is 0.5;
- matches (RealEstate10K, 7-Scenes, CO3D, procedural; above the noise): 0.14 and 0.5; the share is 0.25.

A frame is suspicious if at least half of its pairs that can be decided contradict: a single pair may be mismatched, or
hidden from one of the two cameras.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Literal

from fgq_bench.geometry_checks.depth_scale import TOLERANCE, scale_fits
from fgq_bench.geometry_checks.epipolar import epipolar_errors, match_frames, missing
from fgq_bench.geometry_checks.pairs import CLEARLY, PairError, Window
from fgq_bench.geometry_checks.warp import depth_errors

UNEXPLAINED = {"depth": 0.5, "epipolar": 0.25}  # share of the change between two frames that right poses never leave
VOTES = 0.2  # of the pairs must decide about the scale of depth
SHOWN = 3  # suspicious frames that are named

State = Literal["ok", "suspicious", "undecided", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """What one check says of one sequence."""

    check: str
    state: State
    why: str
    pairs: int = 0  # of frames that were compared
    fitting: int = 0
    contradicting: int = 0
    worst: PairError | None = None  # of the pairs that contradict, else of those that fit


def judge_windows(windows: list[Window]) -> list[Verdict]:
    """All checks of a sequence."""
    return [judge_depth(windows), judge_depth_scale(windows), judge_epipolar(windows)]


def judge_depth(windows: list[Window]) -> Verdict:
    """Does depth, moved from frame to frame with the poses, agree?"""
    if lacking := _lacking_depth(windows):
        return Verdict("depth", "not checked", lacking)
    errors = [error for window in windows for error in depth_errors(window)]
    return judge_pairs("depth", errors, "depth moved with the poses disagrees with the other frame's")


def judge_epipolar(windows: list[Window]) -> Verdict:
    """Do matched points lie on their epipolar lines?"""
    if lacking := _lacking(windows, "extrinsics", "intrinsics") or missing():
        return Verdict("epipolar", "not checked", lacking)
    errors = [error for window in windows for error in epipolar_errors(window, match_frames(window.scene.images))]
    if not errors:
        return Verdict("epipolar", "not checked", "too few points could be matched between the frames")
    return judge_pairs("epipolar", errors, "points that match lie off the lines that the poses predict")


def judge_pairs(check: str, errors: list[PairError], trouble: str) -> Verdict:
    """The verdict on all compared pairs of a sequence; ``trouble``: what it means that some contradict."""
    share = UNEXPLAINED[check]
    outcomes = [error.outcome(share) for error in errors]
    fitting, contradicting = (
        [error for error, outcome in zip(errors, outcomes, strict=True) if outcome == kind]
        for kind in ("fits", "contradicts")
    )
    state, why = _state(errors, fitting, contradicting, trouble)
    worst = max((contradicting if state == "suspicious" else fitting) or errors, key=lambda error: error.unexplained)
    return Verdict(check, state, why, len(errors), len(fitting), len(contradicting), worst)


def _state(
    errors: list[PairError], fitting: list[PairError], contradicting: list[PairError], trouble: str
) -> tuple[State, str]:
    decided = len(fitting) + len(contradicting)
    if not any(error.samples for error in errors):
        return "suspicious", "frames that follow each other see nothing in common under their poses"
    if 2 * sum(error.inverted_is_better for error in contradicting) > decided:
        return "suspicious", (
            "inverted poses fit better: camera-to-world is read as world-to-camera, or the other way round"
        )
    if frames := suspicious_frames(fitting, contradicting):
        named = ", ".join(frames[:SHOWN]) + (f" and {len(frames) - SHOWN} more" if len(frames) > SHOWN else "")
        return "suspicious", f"{trouble}: frame {named}"
    if fitting:
        return "ok", "the poses fit, inverted ones do not"
    return "undecided", "inverted poses fit as well: the camera moves too little between frames that see the same"


def suspicious_frames(fitting: list[PairError], contradicting: list[PairError]) -> list[str]:
    """Frames of whose decided pairs at least half contradict, the one with most of them first."""
    fits, contradictions = (
        Counter(name for error in kind for name in error.frames) for kind in (fitting, contradicting)
    )
    return [name for name, count in contradictions.most_common() if count >= fits[name]]


def judge_depth_scale(windows: list[Window]) -> Verdict:
    """Has depth the unit of the poses? The pairs vote."""
    if lacking := _lacking_depth(windows):
        return Verdict("depth scale", "not checked", lacking)
    fits = [fit for window in windows for fit in scale_fits(window)]
    fitting, contradicting = ([fit for fit in fits if fit.outcome == kind] for kind in ("fits", "contradicts"))
    counts = (len(fits), len(fitting), len(contradicting))
    if max(len(fitting), len(contradicting)) < VOTES * len(fits):
        return Verdict("depth scale", "undecided", "too few pairs of frames tell one scale from another", *counts)
    if len(fitting) >= len(contradicting):
        return Verdict("depth scale", "ok", f"no scale that is {TOLERANCE} times off fits as well", *counts)
    best = median(fit.best for fit in contradicting)
    agreeing = sum(best / CLEARLY <= fit.best <= best * CLEARLY for fit in contradicting)
    if 2 * agreeing <= len(contradicting):
        return Verdict("depth scale", "undecided", "pairs of frames disagree about it", *counts)
    why = f"{best:.2g} times the depth that was read fits the poses better"
    return Verdict("depth scale", "suspicious", why, *counts)


def _lacking_depth(windows: list[Window]) -> str | None:
    if lacking := _lacking(windows, "extrinsics", "intrinsics", "depth"):
        return lacking
    scenes = [window.scene for window in windows]
    resized = any(scene.depth is not None and scene.depth.shape[-2:] != scene.images.shape[-2:] for scene in scenes)
    return "depth has another resolution than the pictures" if resized else None


def _lacking(windows: list[Window], *fields: str) -> str | None:
    scene = windows[0].scene
    absent = [{"extrinsics": "poses"}.get(field, field) for field in fields if getattr(scene, field) is None]
    if absent:
        return f"the data set has no {' and no '.join(absent)}"
    return "a single frame" if all(len(window.names) < 2 for window in windows) else None
