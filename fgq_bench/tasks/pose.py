"""Camera pose: angular errors of relative poses, AUC@3/5/15/30, RRA and RTA; two ways to make a pair's pose."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from fgq_bench.geometry import decode_pose, first_camera_motions, relative_poses
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import Metric, SequencePrediction, SequenceScore, Task
from fgq_bench.tasks.pose_metrics import auc, pair_errors, recall

AUC_THRESHOLDS, RECALL_THRESHOLDS = (3, 5, 15, 30), (5, 15, 30)


class Pose(Task):
    """All pairs i < j of a sequence; relative poses need no alignment.

    A sequence's AUC averages over its pairs, so the pair-weighted mean over sequences is the pooled AUC, and the
    mean of category means is the per-category one.
    """

    name = "pose"
    metrics = (
        *(Metric(f"auc@{t}", "fraction", True) for t in AUC_THRESHOLDS),
        *(Metric(f"{kind}@{t}", "fraction", True) for kind in ("rra", "rta") for t in RECALL_THRESHOLDS),
        Metric("rotation_error", "degrees", False),
        Metric("translation_error", "degrees", False),
    )
    reads: ClassVar[frozenset[str]] = frozenset({"pose_enc"})
    alignment = "none (relative poses; translation directions folded to 90 degrees)"
    weighted_by = "pairs"

    @staticmethod
    def relative(extrinsics: Tensor) -> Tensor:
        """The pairs' poses [pairs, 3, 4] of w2c extrinsics [S, 3, 4]."""
        return relative_poses(extrinsics)

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence; rotation and translation errors are medians over its pairs."""
        assert scene.extrinsics is not None and prediction.pose_enc is not None
        height, width = scene.images.shape[-2:]
        extrinsics, _ = decode_pose(prediction.pose_enc.double(), (height, width))
        rotation, translation = pair_errors(extrinsics, scene.extrinsics, self.relative)
        values = {f"auc@{t}": auc(rotation, translation, t) for t in AUC_THRESHOLDS}
        values |= {f"rra@{t}": recall(rotation, t) for t in RECALL_THRESHOLDS}
        values |= {f"rta@{t}": recall(translation, t) for t in RECALL_THRESHOLDS}
        values |= {"rotation_error": float(np.median(rotation)), "translation_error": float(np.median(translation))}
        return SequenceScore(scene.sequence, scene.category, float(len(rotation)), values)


class PoseFirstCamera(Pose):
    """As ``pose``, but with E_i^-1 E_j in place of E_i E_j^-1, the first camera being the world.

    QuantVGGT's released evaluation and those like it pair w2c poses so (spec: quantvggt, 4.1). It is the motion from j to
    i as the first camera sees it; so scores depend on which frame comes first.
    """

    name = "pose-first-camera"
    alignment = (
        "none (relative poses E_i^-1 E_j of world-to-camera poses, the first camera being the world; translation "
        "directions folded to 90 degrees)"
    )

    @staticmethod
    def relative(extrinsics: Tensor) -> Tensor:
        """The pairs' poses [pairs, 3, 4] of w2c extrinsics [S, 3, 4]."""
        return first_camera_motions(extrinsics)
