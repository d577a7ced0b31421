"""Point maps: accuracy, completeness and normal consistency after Sim(3) alignment and ICP, for both point sources."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.geometry import decode_pose, unproject_depth
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.alignment import icp, umeyama
from fgq_bench.tasks.base import LARGE, Metric, SequencePrediction, SequenceScore, Task
from fgq_bench.tasks.pointmap_metrics import Cloud, build_cloud, nearest, spatial_order

Array = NDArray[np.float64]
SOURCES = ("points", "depth+camera")  # the point head; the depth head unprojected with the predicted cameras
METRICS = {
    f"{kind}_{mean}": (unit, higher)
    for kind, unit, higher in (("acc", "metres", False), ("comp", "metres", False), ("nc", "fraction", True))
    for mean in ("mean", "median")
}
WORST = {name: 0.0 if higher else LARGE for name, (_, higher) in METRICS.items()}


def score_points(predicted: Array, truth: Cloud, icp_threshold: float, unit: float = 1.0) -> dict[str, float]:
    """``METRICS`` of predicted points [N, 3], which correspond to the points of ``truth`` row by row.

    A non-finite point takes no part in the alignment, is ``LARGE`` away from the ground truth and agrees with no
    normal. Where no alignment exists (under 3 finite points, or all on a line) every metric takes its worst value.

    Args:
        predicted: any unit, any frame.
        truth: metres.
        icp_threshold: metres.
        unit: metres of the unit in which ICP counts (see ``icp``).
    """
    finite = np.isfinite(predicted).all(-1)
    try:
        aligned = umeyama(predicted[finite], truth.points[finite], with_scale=True).apply(predicted[finite])
    except ValueError:
        return dict(WORST)
    return compare_clouds(aligned, len(predicted) - len(aligned), truth, icp_threshold, unit)


def compare_clouds(
    aligned: Array, lost: int, truth: Cloud, icp_threshold: float, unit: float = 1.0
) -> dict[str, float]:
    """``METRICS`` of aligned points [N, 3] in metres after ICP; ``lost`` more had no finite place."""
    cloud = build_cloud(icp(aligned, truth.tree, icp_threshold, unit=unit).transform.apply(aligned))
    accuracy, forward = nearest(cloud, truth)
    completeness, backward = nearest(truth, cloud)
    accuracy = np.pad(np.minimum(accuracy, LARGE), (0, lost), constant_values=LARGE)
    completeness = np.minimum(completeness, LARGE)
    forward = np.pad(forward, (0, lost))
    values: dict[str, float] = {}
    for name, mean in (("mean", np.mean), ("median", np.median)):
        values[f"acc_{name}"] = float(mean(accuracy))
        values[f"comp_{name}"] = float(mean(completeness))
        values[f"nc_{name}"] = float(mean(forward) + mean(backward)) / 2
    return values


class PointMap(Task):
    """All frames of a sequence as one cloud, for both point sources; ``_points`` etc. in a metric's name say which.

    Accuracy is the distance from predicted to true points, completeness from true to predicted, normal consistency
    |n . n'| averaged over both directions. No point is dropped: no confidence filter, no subsampling, no truncation.
    Predictions must have the resolution of the ground truth.
    """

    name = "pointmap"
    metrics = tuple(
        Metric(f"{name}_{source}", unit, higher) for source in SOURCES for name, (unit, higher) in METRICS.items()
    )
    reads: ClassVar[frozenset[str]] = frozenset({"pose_enc", "depth", "points"})
    icp_threshold: ClassVar[float] = 0.1  # metres; a subclass with another one restates ``alignment``
    alignment = (
        f"Sim(3) on corresponding valid pixels (Umeyama), then rigid point-to-point ICP within {icp_threshold} m"
    )
    weighted_by = "sequences"

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence over its valid pixels; raises ValueError if the scene has fewer than 3."""
        assert scene.depth is not None and scene.mask is not None and prediction.points is not None
        if int(scene.mask.sum()) < 3:
            raise ValueError(f"{scene.sequence}: fewer than 3 pixels with valid depth, no points to compare with")
        valid = true_points(scene)[scene.mask].numpy()
        order = spatial_order(valid)  # the same rows of both clouds: they still correspond
        truth = build_cloud(valid[order])
        clouds = {"points": prediction.points.double(), "depth+camera": unprojected_points(scene, prediction)}
        values: dict[str, float] = {}
        for source in SOURCES:
            scores = score_points(clouds[source][scene.mask].numpy()[order], truth, self.icp_threshold, self.unit)
            values |= {f"{name}_{source}": value for name, value in scores.items()}
        return SequenceScore(scene.sequence, scene.category, 1.0, values)


class PointMapMillimetres(PointMap):
    """As ``pointmap``, with ICP as a toolkit runs it that reads the data set in millimetres (DTU).

    Its threshold of 100 mm is the same; it goes on until the error changes by less than 1e-6 mm instead of 1e-6 m.
    Tables show millimetres.
    """

    name = "pointmap-mm"
    unit: ClassVar[float] = 1e-3
    alignment = f"{PointMap.alignment}, converged in millimetres"


def true_points(scene: Scene) -> Tensor:
    """World points [S, H, W, 3] in metres of a scene's depth and cameras."""
    assert scene.depth is not None and scene.extrinsics is not None and scene.intrinsics is not None
    return unproject_depth(scene.depth.double(), scene.extrinsics.double(), scene.intrinsics.double())


def unprojected_points(scene: Scene, prediction: SequencePrediction) -> Tensor:
    """World points [S, H, W, 3] of predicted depth and cameras, in the model's scale."""
    assert prediction.depth is not None and prediction.pose_enc is not None
    height, width = scene.images.shape[-2:]
    extrinsics, intrinsics = decode_pose(prediction.pose_enc.double(), (height, width))
    return unproject_depth(prediction.depth.double(), extrinsics, intrinsics)
