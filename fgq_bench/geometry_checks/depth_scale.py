"""Has depth the unit of the poses? Over a sweep of scales, moved depth must agree best at the one that was read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fgq_bench.geometry_checks.pairs import CLEARLY, Outcome, Window, pairs, relative_pose
from fgq_bench.geometry_checks.warp import Warper

DOUBLINGS = 12  # either way: up to 4096 times smaller or larger
SCALES = [2.0**step for step in range(-DOUBLINGS, DOUBLINGS + 1)]
TOLERANCE = 1.75  # times: a focal length that is wrong by a tenth moves the best scale by nearly as much
LEAST = 1e-3  # of the depth: smaller disagreements are none
RISE = 1.4  # times: how much worse a minimum's surroundings are, a factor of 2 (read) or 4 (elsewhere) away


@dataclass(frozen=True)
class ScaleFit:
    """What depth would have to be multiplied with to agree best between two frames."""

    frames: tuple[str, str]
    best: float
    read: float  # disagreement as it was read, share of the depth
    least: float  # disagreement at the best scale
    outcome: Outcome


def scale_fits(window: Window) -> list[ScaleFit]:
    """The pairs of a window; the scene has poses, intrinsics, depth and mask."""
    assert window.scene.extrinsics is not None
    warper, read = Warper(window.scene), window.scene.extrinsics.double()
    return [
        _fit(warper, (a, b), relative_pose(read, a, b), (window.names[a], window.names[b])) for a, b in pairs(len(read))
    ]


def _fit(warper: Warper, pair: tuple[int, int], relative: Tensor, names: tuple[str, str]) -> ScaleFit:
    def error(scale: float) -> float:
        """Disagreement of ``scale`` times the depth, which is that of the depth with the step divided by ``scale``."""
        step = relative[:, 3:] / scale
        return max(LEAST, warper.disagreement(*pair, torch.cat([relative[:, :3], step], 1))[0])

    errors = [error(scale) for scale in SCALES]
    place = min(range(len(errors)), key=errors.__getitem__)
    finer = {scale: error(scale) for scale in (SCALES[place] / 2**0.5, SCALES[place] * 2**0.5)}
    best, least = min([(SCALES[place], errors[place]), *finer.items()], key=lambda each: each[1])
    read, far = errors[DOUBLINGS], abs(math.log(best)) > math.log(TOLERANCE)
    outcome: Outcome = "undecided"
    if not far and _rises(errors, DOUBLINGS, 1):
        outcome = "fits"
    elif far and _rises(errors, place, 2) and CLEARLY * least < read:
        outcome = "contradicts"
    return ScaleFit(names, best, read, least, outcome)


def _rises(errors: list[float], place: int, doublings: int) -> bool:
    """Whether ``place`` is a minimum: what is so many doublings away, either way, is clearly worse."""
    around = (place - doublings, place + doublings)
    return all(0 <= at < len(errors) and RISE * errors[place] < errors[at] for at in around)
