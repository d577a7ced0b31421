"""Ground truth as the models predict it: world = first camera, unit length = mean distance of the points from it."""

from __future__ import annotations

import torch
from torch import Tensor

from fgq_bench.geometry import compose_rigid, encode_pose, invert_rigid, unproject_depth


def targets(
    extrinsics: Tensor, intrinsics: Tensor, depth: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pose encodings [B, S, 9], depth [B, S, H, W] and points [B, S, H, W, 3] in VGGT's normalisation.

    Args:
        extrinsics: w2c [B, S, 3, 4]; ``intrinsics``: pixels [B, S, 3, 3]; ``depth``: metric z-depth [B, S, H, W].
        mask: [B, S, H, W] bool, True where depth is valid; None: everywhere.
    """
    height, width = depth.shape[-2:]
    relative = compose_rigid(extrinsics, invert_rigid(extrinsics[:, :1]).expand_as(extrinsics))
    points = unproject_depth(depth, relative, intrinsics)
    distance = points.norm(dim=-1)
    scale = distance.mean((1, 2, 3)) if mask is None else (distance * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))
    relative = torch.cat([relative[..., :3], relative[..., 3:] / scale[:, None, None, None]], -1)
    pose_enc = encode_pose(relative, intrinsics, (height, width))
    return pose_enc, depth / scale[:, None, None, None], points / scale[:, None, None, None, None]
