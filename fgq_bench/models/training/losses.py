"""Training losses that families of networks share: what the pose metrics look at, confidence, gradients of loud heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.geometry import relative_poses


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle [...] in radians between vectors [..., n], with a gradient everywhere."""
    a, b = F.normalize(a, dim=-1, eps=1e-4), F.normalize(b, dim=-1, eps=1e-4)
    return 2 * torch.atan2((a - b).square().sum(-1).add(1e-6).sqrt(), (a + b).square().sum(-1).add(1e-6).sqrt())


def relative_loss(extrinsics: Tensor, target: Tensor) -> Tensor:
    """What the pose metrics look at: rotation and translation-direction errors of all pairs, in radians.

    Args:
        extrinsics, target: w2c [B, S, 3, 4], in any world and scale each.
    """
    ours, theirs = relative_poses(extrinsics), relative_poses(target)
    chord = (ours[..., :3] - theirs[..., :3]).square().sum((-1, -2)).add(1e-6).sqrt()  # 2 sqrt(2) sin(angle / 2)
    return (chord / 2**0.5 + angle_between(ours[..., 3], theirs[..., 3])).mean()


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself; only ``factor`` of its gradient flows back."""
    return factor * x + (1 - factor) * x.detach()
