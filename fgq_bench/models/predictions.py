"""What a reconstruction model predicts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Predictions:
    """Predictions for B sequences of S frames; world = the first camera's frame, in the model's own scale."""

    pose_enc: Tensor  # [B, S, 9] translation, quaternion xyzw, fov_h, fov_w; w2c
    depth: Tensor  # [B, S, H, W] z-depth
    depth_conf: Tensor  # [B, S, H, W] positive, on a scale of each model's own
    points: Tensor  # [B, S, H, W, 3] in the world, from the point head
    points_conf: Tensor  # [B, S, H, W] likewise
    pose_enc_iterations: list[Tensor]  # every refinement step, [B, S, 9]
