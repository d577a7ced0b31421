"""Point maps as QuantVGGT and CUT3R compare them: median shift and scale, centre crop, ICP (spec: quantvggt, 4.2)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.geometry import decode_pose, transform_points
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import SequencePrediction, SequenceScore
from fgq_bench.tasks.pointmap import SOURCES, WORST, PointMap, compare_clouds, true_points, unprojected_points
from fgq_bench.tasks.pointmap_metrics import Cloud, build_cloud, spatial_order

Array = NDArray[np.float64]
CROP = 224  # pixels about the centre of every frame that are compared
MOST = 999_999  # points of a sequence; more are thinned out at random
SMALLEST = 1e-12


def centred(points: Array) -> Array:
    """Points [N, 3] with their median z at 0."""
    moved: Array = points - [0.0, 0.0, float(np.median(points[:, 2]))]
    return moved


def size_of(points: Array) -> float:
    """Median distance of points [N, 3] from their median point, as DUSt3R's criterion measures a cloud."""
    return float(np.median(np.linalg.norm(points - np.median(points, 0), axis=-1)))


def in_centre(mask: Tensor, crop: int = CROP) -> Tensor:
    """``mask`` [S, H, W] within the ``crop`` x ``crop`` pixels in the middle of every frame."""
    height, width = mask.shape[-2:]
    top, left = max((height - crop) // 2, 0), max((width - crop) // 2, 0)
    inside = mask.new_zeros(mask.shape)
    inside[:, top : top + crop, left : left + crop] = True
    return mask & inside


class PointMapMedian(PointMap):
    """As ``pointmap``, but aligned by medians, and compared in the centre of the frames only.

    Points are seen from the first camera. Prediction and truth are shifted so that their median z is 0, and the
    prediction is scaled to the truth's size (``size_of``), over all valid pixels and without correspondences. Where a
    sequence has more than ``MOST`` points in the centres, that many are drawn (seeded; the same of both clouds).
    """

    name = "pointmap-median"
    alignment = (
        "first camera's frame, median z shifted to 0, scaled so that the median distance from the median point is "
        f"the truth's; centre {CROP} x {CROP} of every frame; rigid point-to-point ICP within {PointMap.icp_threshold} m"
    )
    reads: ClassVar[frozenset[str]] = PointMap.reads

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence; raises ValueError if its centres have fewer than 3 pixels with valid depth."""
        assert scene.mask is not None and scene.extrinsics is not None and prediction.points is not None
        assert prediction.pose_enc is not None
        height, width = scene.images.shape[-2:]
        extrinsics, _ = decode_pose(prediction.pose_enc.double(), (height, width))
        clouds = {
            "points": prediction.points.double(),
            "depth+camera": transform_points(extrinsics[:1], unprojected_points(scene, prediction)),
        }
        chosen = _thinned(in_centre(scene.mask)[scene.mask].numpy())
        if len(chosen) < 3:
            raise ValueError(f"{scene.sequence}: fewer than 3 pixels with valid depth in the centre of its frames")
        truth = centred(transform_points(scene.extrinsics[:1].double(), true_points(scene))[scene.mask].numpy())
        chosen = chosen[spatial_order(truth[chosen])]
        size, cloud = size_of(truth), build_cloud(truth[chosen])
        values: dict[str, float] = {}
        for source in SOURCES:
            scores = score_centres(clouds[source][scene.mask].numpy(), chosen, size, cloud, self.icp_threshold)
            values |= {f"{name}_{source}": value for name, value in scores.items()}
        return SequenceScore(scene.sequence, scene.category, 1.0, values)


def score_centres(
    predicted: Array, chosen: NDArray[np.intp], size: float, truth: Cloud, icp_threshold: float
) -> dict[str, float]:
    """``METRICS`` of the ``chosen`` ones of predicted points [N, 3], aligned by all that are finite.

    Args:
        size: of the true points, metres (see ``size_of``).
        truth: those of the true points that are compared.
    """
    finite = np.asarray(np.isfinite(predicted).all(-1))
    if not finite[chosen].any():
        return dict(WORST)
    placed = np.full_like(predicted, np.nan)
    placed[finite] = centred(predicted[finite])
    placed *= size / max(size_of(placed[finite]), SMALLEST)
    found = finite[chosen]
    return compare_clouds(placed[chosen][found], int((~found).sum()), truth, icp_threshold)


def _thinned(chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rows that are ``chosen``, at most ``MOST`` of them."""
    rows = np.flatnonzero(chosen)
    if len(rows) <= MOST:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
