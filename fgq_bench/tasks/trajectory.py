"""Trajectory: absolute and relative errors of the camera path, after Sim(3) and after SE(3) alignment."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

import numpy as np

from fgq_bench.geometry import camera_centers, decode_pose
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import LARGE, Metric, SequencePrediction, SequenceScore, Task
from fgq_bench.tasks.trajectory_metrics import ate_rmse, rpe_rmse


class Trajectory(Task):
    """RMSE over the frames of a sequence, in its order; ``_sim3`` and ``_se3`` in a metric's name say the alignment.

    ATE compares camera centres, RPE the motion from one frame to the next (delta 1). No alignment changes the relative
    rotation, so it is given once. SE(3) compares metric scale too, which a model that predicts up to scale lacks.

    Not defined, hence 1e6: everything where a prediction is not finite; ATE and the Sim(3) translation where either
    side has fewer than three distinct camera centres (a two-frame sequence would align perfectly); RPE of one frame.
    """

    name = "trajectory"
    metrics = (
        Metric("ate_sim3", "metres", False),
        Metric("ate_se3", "metres", False),
        Metric("rpe_translation_sim3", "metres", False),
        Metric("rpe_translation_se3", "metres", False),
        Metric("rpe_rotation", "degrees", False),
    )
    reads: ClassVar[frozenset[str]] = frozenset({"pose_enc"})
    alignment = "named in each metric: Umeyama on camera centres by sim3 (with scale) or se3; rotation needs none"
    weighted_by = "sequences"

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence."""
        assert scene.extrinsics is not None and prediction.pose_enc is not None
        height, width = scene.images.shape[-2:]
        predicted, _ = decode_pose(prediction.pose_enc.double(), (height, width))
        truth = scene.extrinsics.double()
        values = {metric.name: LARGE for metric in self.metrics}
        if predicted.isfinite().all():
            ours, theirs = camera_centers(predicted).numpy(), camera_centers(truth).numpy()
            with suppress(ValueError):
                values["rpe_translation_se3"], values["rpe_rotation"] = rpe_rmse(predicted, truth)
            with suppress(ValueError):
                values["ate_se3"], _ = ate_rmse(ours, theirs, with_scale=False)
                values["ate_sim3"], scale = ate_rmse(ours, theirs, with_scale=True)
                values["rpe_translation_sim3"], _ = rpe_rmse(predicted, truth, scale)
        bounded = {name: float(np.nan_to_num(min(value, LARGE), nan=LARGE)) for name, value in values.items()}
        return SequenceScore(scene.sequence, scene.category, 1.0, bounded)
