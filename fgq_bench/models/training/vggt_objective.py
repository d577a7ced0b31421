"""What a VGGT is trained for: pose over the refinement steps, confidence-weighted depth and points, patch points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.geometry import quaternion_to_matrix
from fgq_bench.models.training.batches import Batch
from fgq_bench.models.training.losses import relative_loss, scale_gradient
from fgq_bench.models.training.objective import Objective
from fgq_bench.models.vggt import VGGT, VGGTConfig, activate_depth, activate_points

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


def extrinsics_of(pose_enc: Tensor) -> Tensor:
    """w2c [..., 3, 4] of raw pose encodings [..., 9], whose quaternions may be near zero at first."""
    rotation = quaternion_to_matrix(F.normalize(pose_enc[..., 3:7], dim=-1, eps=1e-4))
    return torch.cat([rotation, pose_enc[..., :3, None]], -1)


def confident(error: Tensor, confidence: Tensor) -> Tensor:
    """Confidence-weighted error: E[c * e - a * log c]."""
    return (confidence * error - CONFIDENCE_REWARD * confidence.log()).mean()


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


def initialise_dense_heads(model: VGGT) -> None:
    """He initialisation for the dense heads' convolutions, and a last layer that starts near zero.

    With PyTorch's default, each of their dozen layers shrinks the signal by two thirds, and they hardly start
    learning; with a He-sized last layer, the exponential activations overflow at once.
    """
    for head in (model.depth_head, model.point_head):
        for module in head.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(head.scratch.output_conv2.get_submodule("2").get_parameter("weight"), std=1e-3)


class VGGTObjective(Objective[VGGT]):
    """Weighted losses of a VGGT; the probes are an aid."""

    def __init__(self, config: VGGTConfig) -> None:
        super().__init__()
        self.probes = PatchProbes(2 * config.dim, config.depth, config.patch)

    def forward(self, model: VGGT, batch: Batch, frame: Tensor) -> dict[str, Tensor]:
        """See ``Objective``.

        The dense heads cost as much as all the rest and learn fastest, so they see one frame, ``frame``, of half of the
        sequences.
        """
        levels = model.aggregator(batch.images, tuple(range(model.config.depth)))
        poses = model.camera_head(levels[model.config.depth - 1][:, :, 0])
        depth, points = dense_losses(model, levels, batch, max(1, len(batch.images) // 2), frame)
        patch = self.probes(list(levels.values()), batch.points, model.aggregator.patch_start)
        relative = relative_loss(extrinsics_of(poses[-1]), extrinsics_of(batch.pose_enc))
        return {
            "pose": POSE_WEIGHT * pose_loss(poses, batch.pose_enc),
            "relative": RELATIVE_WEIGHT * relative,
            "patch": PATCH_WEIGHT * patch,
            "depth": depth,
            "points": points,
        }
