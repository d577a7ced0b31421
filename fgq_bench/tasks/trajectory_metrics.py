"""Trajectory errors: ATE of aligned camera centres, RPE of the motion from each frame to the next."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.geometry import compose_rigid, invert_rigid
from fgq_bench.tasks.alignment import umeyama
from fgq_bench.tasks.pose_metrics import rotation_angle

Array = NDArray[np.float64]
DISTINCT = 1e-6  # centres nearer than this times the largest coordinate count as one


def has_three_centres(centres: Array) -> bool:
    """Whether camera centres [S, 3] hold three distinct ones, without which an aligned error says nothing."""
    limit = DISTINCT * np.abs(centres).max(initial=0.0)
    rest, found = centres, 0
    while len(rest) and found < 3:
        found += 1
        rest = rest[np.linalg.norm(rest - rest[0], axis=-1) > limit]
    return found == 3


def ate_rmse(predicted: Array, truth: Array, *, with_scale: bool) -> tuple[float, float]:
    """RMSE of camera centres after Umeyama alignment, in units of ``truth``, and the scale of that alignment.

    Centres on a line are scored: their best rotation is not unique, its residual is.

    Args:
        predicted: centres [S, 3].
        truth: centres [S, 3].
        with_scale: align by Sim(3) if True, else by SE(3).

    Raises:
        ValueError: on non-finite numbers, or fewer than three distinct centres on either side.
    """
    if not (has_three_centres(predicted) and has_three_centres(truth)):
        raise ValueError("an aligned trajectory error needs three distinct camera centres")
    alignment = umeyama(predicted, truth, with_scale=with_scale, unique=False)
    error = np.linalg.norm(alignment.apply(predicted) - truth, axis=-1)
    return float(np.sqrt(np.square(error).mean())), alignment.scale


def frame_motions(extrinsics: Tensor) -> Tensor:
    """Pose [S - 1, 3, 4] of each next camera, seen from the camera before it, of w2c extrinsics [S, 3, 4]."""
    return compose_rigid(extrinsics[:-1], invert_rigid(extrinsics[1:]))


def rpe_rmse(predicted: Tensor, truth: Tensor, scale: float = 1.0) -> tuple[float, float]:
    """RMSE of relative poses of successive frames: translation in units of ``truth``, rotation in degrees.

    Of an alignment only its scale matters here: rotating and shifting the world leaves relative poses as they are.

    Args:
        predicted: w2c [S, 3, 4]; its motions are multiplied by ``scale``.
        truth: w2c [S, 3, 4].
        scale: of the alignment; 1 for SE(3).

    Raises:
        ValueError: with fewer than two frames.
    """
    if len(predicted) < 2:
        raise ValueError("a relative pose needs two frames")
    ours, theirs = frame_motions(predicted.double()), frame_motions(truth.double())
    ours = torch.cat([ours[..., :3], scale * ours[..., 3:]], -1)
    error = compose_rigid(invert_rigid(theirs), ours)
    translation = error[..., 3].norm(dim=-1)
    rotation = rotation_angle(ours[..., :3], theirs[..., :3])
    return translation.square().mean().sqrt().item(), rotation.square().mean().sqrt().item()
