"""Training losses: pose over the refinement steps, confidence-weighted depth and points, per-level patch points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.geometry import quaternion_to_matrix, relative_poses
from fgq_bench.models.training.batches import Batch
from fgq_bench.models.vggt import VGGT, activate_depth, activate_points

ITERATION_DECAY = 0.6  # weight of a refinement step relative to the next one (VGGT)
CONFIDENCE_REWARD = 0.1  # pull of the confidence away from zero
POSE_WEIGHT, RELATIVE_WEIGHT, PATCH_WEIGHT = 5.0, 0.5, 1.0
DENSE_GRADIENT = 0.05  # share of the dense heads' gradient that reaches the trunk: theirs is the loudest by far


class PatchProbes(nn.Module):
    """Linear read-out of each patch's world point from every level: a training aid that is thrown away.

    It gives every alternating block a dense reason to compare views, long before the pose loss does.
    """

    def __init__(self, dim: int, levels: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.probes = nn.ModuleList(nn.Linear(dim, 3) for _ in range(levels))

    def forward(self, levels: list[Tensor], points: Tensor, patch_start: int) -> Tensor:
        """Mean L1 error at the patch centres, averaged over the levels."""
        half = self.patch // 2
        centres = points[:, :, half :: self.patch, half :: self.patch].flatten(2, 3)
        errors = [
            (probe(level[:, :, patch_start:]).float() - centres).abs().mean()
            for probe, level in zip(self.probes, levels, strict=True)
        ]
        return torch.stack(errors).mean()


def pose_loss(iterations: list[Tensor], target: Tensor) -> Tensor:
    """L1 on the pose encoding, later refinement steps weighing more."""
    weights = [ITERATION_DECAY ** (len(iterations) - 1 - index) for index in range(len(iterations))]
    terms = [weight * (step - target).abs().mean() for weight, step in zip(weights, iterations, strict=True)]
    return torch.stack(terms).sum() / sum(weights)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle [...] in radians between vectors [..., n], with a gradient everywhere."""
    a, b = F.normalize(a, dim=-1, eps=1e-4), F.normalize(b, dim=-1, eps=1e-4)
    return 2 * torch.atan2((a - b).square().sum(-1).add(1e-6).sqrt(), (a + b).square().sum(-1).add(1e-6).sqrt())


def relative_loss(pose_enc: Tensor, target: Tensor) -> Tensor:
    """What the pose metrics look at: rotation and translation-direction errors of all pairs, in radians."""

    def pairs(encoding: Tensor) -> Tensor:
        rotation = quaternion_to_matrix(F.normalize(encoding[..., 3:7], dim=-1, eps=1e-4))
        return relative_poses(torch.cat([rotation, encoding[..., :3, None]], -1))

    ours, theirs = pairs(pose_enc), pairs(target)
    chord = (ours[..., :3] - theirs[..., :3]).square().sum((-1, -2)).add(1e-6).sqrt()  # 2 sqrt(2) sin(angle / 2)
    return (chord / 2**0.5 + angle_between(ours[..., 3], theirs[..., 3])).mean()


def confident(error: Tensor, confidence: Tensor) -> Tensor:
    """Confidence-weighted error: E[c * e - a * log c]."""
    return (confidence * error - CONFIDENCE_REWARD * confidence.log()).mean()


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself; only ``factor`` of its gradient flows back."""
    return factor * x + (1 - factor) * x.detach()


def dense_losses(
    model: VGGT, levels: dict[int, Tensor], batch: Batch, rows: int, frame: Tensor
) -> tuple[Tensor, Tensor]:
    """Depth and point losses on ``frame`` [1] of the first ``rows`` sequences."""
    image_hw = (batch.images.shape[-2], batch.images.shape[-1])
    start = model.aggregator.patch_start

    def chosen(x: Tensor) -> Tensor:
        return x[:rows].index_select(1, frame)

    pyramid = [scale_gradient(chosen(levels[index]), DENSE_GRADIENT) for index in model.config.dpt_levels]
    depth, depth_conf = activate_depth(model.depth_head(pyramid, image_hw, start).float())
    points, points_conf = activate_points(model.point_head(pyramid, image_hw, start).float())
    depth_error = (depth.log() - chosen(batch.depth).log()).abs()
    points_error = (points - chosen(batch.points)).abs().sum(-1)
    return confident(depth_error, depth_conf), confident(points_error, points_conf)


def joint_losses(model: VGGT, probes: PatchProbes, batch: Batch, frame: Tensor) -> dict[str, Tensor]:
    """Weighted losses of a batch by name; their sum is minimised.

    The dense heads cost as much as all the rest and learn fastest, so they see one frame, ``frame`` [1], of half of
    the sequences.
    """
    levels = model.aggregator(batch.images, tuple(range(model.config.depth)))
    poses = model.camera_head(levels[model.config.depth - 1][:, :, 0])
    depth, points = dense_losses(model, levels, batch, max(1, len(batch.images) // 2), frame)
    patch = probes(list(levels.values()), batch.points, model.aggregator.patch_start)
    return {
        "pose": POSE_WEIGHT * pose_loss(poses, batch.pose_enc),
        "relative": RELATIVE_WEIGHT * relative_loss(poses[-1], batch.pose_enc),
        "patch": PATCH_WEIGHT * patch,
        "depth": depth,
        "points": points,
    }
