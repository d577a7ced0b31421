"""Relative camera pose errors and their summaries: AUC, RRA, RTA (spec: PoseDiffusion / VGGT protocol)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.geometry import relative_poses
from fgq_bench.tasks.base import LARGE

Array = NDArray[np.float64]


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Geodesic angle [...] in degrees between rotation matrices [..., 3, 3]; accurate near 0 and near 180."""
    relative = a @ b.transpose(-1, -2)
    skew = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.rad2deg(torch.atan2(skew.norm(dim=-1), trace - 1))


def direction_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle [...] in degrees between directions [..., 3], folded to at most 90; 1e6 where one has no direction."""
    cross, dot = torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1).abs()
    angle = torch.rad2deg(torch.atan2(cross, dot))
    undefined = (a.norm(dim=-1) == 0) | (b.norm(dim=-1) == 0) | ~angle.isfinite()
    return torch.where(undefined, torch.full_like(angle, LARGE), angle)


def pair_errors(
    predicted: Tensor, truth: Tensor, relative: Callable[[Tensor], Tensor] = relative_poses
) -> tuple[Array, Array]:
    """Rotation and translation-direction errors [pairs] in degrees, of w2c extrinsics [S, 3, 4] (all pairs i < j).

    ``relative`` makes the pairs' poses [pairs, 3, 4] of extrinsics.
    """
    ours, theirs = relative(predicted.double()), relative(truth.double())
    rotation = rotation_angle(ours[..., :3], theirs[..., :3])
    translation = direction_angle(ours[..., 3], theirs[..., 3])
    rotation = torch.where(rotation.isfinite(), rotation, torch.full_like(rotation, LARGE))
    return rotation.cpu().numpy(), translation.cpu().numpy()


def auc(rotation: Array, translation: Array, threshold: int) -> float:
    """Area under the recall curve up to ``threshold`` degrees, as a fraction.

    max(rotation, translation) error is binned by whole degrees ([0, 1), ..., [t-1, t]); the mean of the cumulative
    histogram over all pairs is returned.
    """
    error = np.maximum(rotation, translation)
    if not len(error):
        return float("nan")
    counts, _ = np.histogram(error, bins=np.arange(threshold + 1))
    return float(np.mean(np.cumsum(counts / len(error))))


def recall(error: Array, threshold: float) -> float:
    """Share of ``error`` [pairs] below ``threshold`` degrees (RRA / RTA), as a fraction."""
    return float(np.mean(error < threshold)) if len(error) else float("nan")
