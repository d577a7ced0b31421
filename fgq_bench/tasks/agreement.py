"""Agreement with full precision: how far quantization moves the predictions, whatever the ground truth says."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fgq_bench.geometry import camera_centers, decode_pose, relative_poses, unproject_depth
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import LARGE, Metric, SequencePrediction, SequenceScore, Task
from fgq_bench.tasks.pose_metrics import rotation_angle


def scene_radius(depth: Tensor, extrinsics: Tensor, intrinsics: Tensor) -> Tensor:
    """Median distance [] of the unprojected points from their median: the unit for distances in the model's scale."""
    points = unproject_depth(depth, extrinsics, intrinsics).reshape(-1, 3)
    distance: Tensor = (points - points.median(0).values).norm(dim=-1)
    return distance.median()


class Agreement(Task):
    """Quantized against float predictions of the same model on the same frames, without any alignment.

    Far more sensitive than ground truth where the float model itself errs. Sequences weigh the same.
    """

    name = "agreement"
    metrics = (
        Metric("rotation", "degrees", False),
        Metric("centre", "scene radii", False),
        Metric("depth", "relative", False),
        Metric("points", "relative", False),
    )
    reads: ClassVar[frozenset[str]] = frozenset({"pose_enc", "depth", "points"})
    needs_reference = True
    alignment = "none (same model, same frames, same scale)"
    weighted_by = "sequences"

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Mean angle between relative rotations (all pairs; of a single frame, its own rotation), mean camera-centre distance, median depth and point errors."""
        assert reference is not None and reference.depth is not None and reference.points is not None
        assert prediction.depth is not None and prediction.points is not None
        assert prediction.pose_enc is not None and reference.pose_enc is not None
        height, width = scene.images.shape[-2:]
        ours, _ = decode_pose(prediction.pose_enc.double(), (height, width))
        theirs, intrinsics = decode_pose(reference.pose_enc.double(), (height, width))
        pairs = (relative_poses(ours), relative_poses(theirs)) if len(ours) > 1 else (ours, theirs)
        rotation = rotation_angle(pairs[0][..., :3], pairs[1][..., :3])
        depth = reference.depth.double()
        radius = scene_radius(depth, theirs, intrinsics)
        points, moved = reference.points.double(), prediction.points.double()
        values = {
            "rotation": rotation.mean(),
            "centre": (camera_centers(ours) - camera_centers(theirs)).norm(dim=-1).mean() / radius,
            "depth": ((prediction.depth.double() - depth).abs() / depth).nanmedian(),
            "points": ((moved - points).norm(dim=-1) / points.norm(dim=-1).clamp(min=1e-6)).nanmedian(),
        }
        numbers = {key: torch.nan_to_num(value, nan=LARGE, posinf=LARGE).item() for key, value in values.items()}
        return SequenceScore(scene.sequence, scene.category, 1.0, numbers)
