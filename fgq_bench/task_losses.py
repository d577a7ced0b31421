"""How far predictions are from labels, task by task: differentiable losses (spec: qvggt, 4; fgq, 1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.geometry import decode_pose, unproject_depth
from fgq_bench.models.predictions import Predictions

TASKS = ("camera", "depth", "points")


def heads(out: Predictions) -> dict[str, Tensor]:
    """What each task is about: pose encoding [B, S, 9], depth [B, S, H, W], points [B, S, H, W, 3]."""
    return {"camera": out.pose_enc, "depth": out.depth, "points": out.points}


@dataclass(frozen=True)
class Labels:
    """What predictions are compared with, pixel by pixel."""

    values: dict[str, Tensor]  # by task, as ``heads``
    confidence: dict[str, Tensor]  # of depth and points, [B, S, H, W]: the float model's
    valid: Tensor | None = None  # [B, S, H, W] bool, None: every pixel

    @classmethod
    def of(cls, out: Predictions) -> Labels:
        """The predictions themselves."""
        return cls(heads(out), {"depth": out.depth_conf, "points": out.points_conf})


def task_loss(task: str, output: Tensor, labels: Labels) -> Tensor:
    """Mean Huber loss of a head's ``output``; depth and points are weighted by confidence, invalid pixels left out."""
    error = F.huber_loss(output, labels.values[task], reduction="none")
    if task == "camera":
        return error.mean()
    confidence = labels.confidence[task]
    if error.ndim > confidence.ndim:  # points: x, y, z share a confidence
        confidence = confidence[..., None]
    error = error * confidence
    return error.mean() if labels.valid is None else error[labels.valid].mean()


def geometry_loss(out: Predictions, valid: Tensor | None) -> Tensor:
    """Mean L1 distance between the predicted points and the predicted depth, unprojected with the predicted cameras
    (QVGGT, L_geo); all in one frame and scale, so nothing is aligned.
    """
    height, width = out.depth.shape[-2:]
    extrinsics, intrinsics = decode_pose(out.pose_enc, (height, width))
    error = (unproject_depth(out.depth, extrinsics, intrinsics) - out.points).abs()
    return error.mean() if valid is None else error[valid].mean()


def relative_error(task: str, output: Tensor, labels: Labels) -> tuple[float, float]:
    """Squared norms of error and label of a head's ``output``; the root of their ratio is its relative error."""
    difference, label = output - labels.values[task], labels.values[task]
    if labels.valid is not None and task != "camera":
        difference, label = difference[labels.valid], label[labels.valid]
    return difference.double().square().sum().item(), label.double().square().sum().item()


def total_loss(out: Predictions, labels: Labels, weights: dict[str, float]) -> Tensor:
    """Weighted sum of the task losses and ``geometry`` (QVGGT, section 3.4).

    Args:
        weights: by task or ``geometry``; those of zero cost nothing.
    """
    losses = [weights[task] * task_loss(task, output, labels) for task, output in heads(out).items() if weights[task]]
    if weights["geometry"]:
        losses.append(weights["geometry"] * geometry_loss(out, labels.valid))
    return torch.stack(losses).sum()
