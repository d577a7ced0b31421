"""What π³ predicts, in its own conventions and in this project's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fgq_bench.geometry import compose_rigid, encode_pose, invert_rigid, transform_points
from fgq_bench.models.predictions import Predictions


@dataclass(frozen=True)
class Reconstruction:
    """What π³ itself predicts; reordering the frames reorders it, and changes nothing else."""

    local_points: Tensor  # [B, S, H, W, 3] in each camera's own frame, OpenCV axes, one unknown scale for all
    confidence: Tensor  # [B, S, H, W] logits
    c2w: Tensor  # [B, S, 3, 4] camera-to-world; the world is the model's own choice

    @property
    def points(self) -> Tensor:
        """[B, S, H, W, 3] in the model's world."""
        return transform_points(self.c2w, self.local_points)

    def predictions(self) -> Predictions:
        """In this project's conventions: w2c, and the first camera's frame is the world."""
        first = invert_rigid(self.c2w[:, :1]).expand_as(self.c2w)
        c2w = compose_rigid(first, self.c2w)
        height, width = self.local_points.shape[2:4]
        pose_enc = encode_pose(invert_rigid(c2w), fitted_intrinsics(self.local_points), (height, width))
        confidence = self.confidence.sigmoid()
        points = transform_points(c2w, self.local_points)
        return Predictions(pose_enc, self.local_points[..., 2], confidence, points, confidence, [pose_enc])


def activate_local(raw: Tensor) -> Tensor:
    """Points [..., 3] of raw maps (a, b, d): (a z, b z, z) with z = exp(d), so (a, b) is the ray's slope."""
    z = raw[..., 2:].exp()
    return torch.cat([raw[..., :2] * z, z], -1)


@torch.no_grad()
def fitted_intrinsics(local_points: Tensor) -> Tensor:
    """Pinhole intrinsics [..., 3, 3] in pixels that explain points [..., H, W, 3] in camera frames best.

    Focal lengths are the least-squares ones of pixel coordinates against x/z and y/z, the principal point is the image
    centre. No gradient flows: π³ has no head for them, they belong to the points.
    """
    height, width = local_points.shape[-3:-1]
    slopes = local_points[..., :2] / local_points[..., 2:]
    columns = torch.arange(width, device=slopes.device, dtype=slopes.dtype) + 0.5 - width / 2
    rows = torch.arange(height, device=slopes.device, dtype=slopes.dtype) + 0.5 - height / 2
    pixels = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], -1)
    focal = (pixels * slopes).sum((-3, -2)) / slopes.square().sum((-3, -2))  # [..., 2]
    intrinsics = torch.diag_embed(torch.cat([focal, torch.ones_like(focal[..., :1])], -1))
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = width / 2, height / 2
    return intrinsics
