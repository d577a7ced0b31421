"""Camera pose: angular errors of relative poses, AUC@3/5/15/30, RRA and RTA."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fgq_bench.geometry import decode_pose
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

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence; rotation and translation errors are medians over its pairs."""
        assert scene.extrinsics is not None and prediction.pose_enc is not None
        height, width = scene.images.shape[-2:]
        extrinsics, _ = decode_pose(prediction.pose_enc.double(), (height, width))
        rotation, translation = pair_errors(extrinsics, scene.extrinsics)
        values = {f"auc@{t}": auc(rotation, translation, t) for t in AUC_THRESHOLDS}
        values |= {f"rra@{t}": recall(rotation, t) for t in RECALL_THRESHOLDS}
        values |= {f"rta@{t}": recall(translation, t) for t in RECALL_THRESHOLDS}
        values |= {"rotation_error": float(np.median(rotation)), "translation_error": float(np.median(translation))}
        return SequenceScore(scene.sequence, scene.category, float(len(rotation)), values)
