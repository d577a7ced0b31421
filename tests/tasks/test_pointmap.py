"""Point map metrics: official code, Open3D's normals, known changes, predictions that break."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from fgq_bench.geometry import encode_pose
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.alignment import icp, umeyama
from fgq_bench.tasks.base import LARGE, SequencePrediction
from fgq_bench.tasks.pointmap import PointMap, score_points, true_points
from fgq_bench.tasks.pointmap_metrics import build_cloud, distinct_rows, nearest, spatial_order

Array = NDArray[np.float64]
SIZE, FRAMES = 24, 2
WORST = {m.name: 0.0 if m.higher_is_better else LARGE for m in PointMap.metrics}


def make_scene() -> Scene:
    """Two cameras 10 cm apart before a wavy wall at 2 m."""
    rows, columns = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
    depth = 2 + 0.2 * torch.sin(5 * columns) * torch.cos(4 * rows) + torch.tensor([0.0, 0.05])[:, None, None]
    extrinsics = torch.eye(3, 4).repeat(FRAMES, 1, 1)
    extrinsics[1, 0, 3] = 0.1
    intrinsics = torch.tensor([[36.0, 0, SIZE / 2], [0, 36.0, SIZE / 2], [0, 0, 1]]).expand(FRAMES, 3, 3)
    images = torch.zeros(FRAMES, 3, SIZE, SIZE)
    return Scene("s", "c", images, extrinsics, intrinsics, depth, torch.ones_like(depth, dtype=torch.bool))


def perfect(scene: Scene) -> SequencePrediction:
    """The truth itself for depth and cameras; for the point head, the truth in another frame and scale."""
    assert scene.depth is not None
    assert scene.extrinsics is not None
    assert scene.intrinsics is not None
    turn = torch.as_tensor(Rotation.from_rotvec([0.5, 1.0, -0.3]).as_matrix())
    pose = encode_pose(scene.extrinsics.double(), scene.intrinsics.double(), (SIZE, SIZE))
    return SequencePrediction(pose, scene.depth.clone(), 0.3 * true_points(scene) @ turn.T + 5)


def values(scene: Scene, prediction: SequencePrediction, task: PointMap | None = None) -> dict[str, float]:
    scores = (task or PointMap()).score(scene, prediction, None)
    assert set(scores.values) == {m.name for m in PointMap.metrics}
    assert all(map(math.isfinite, scores.values.values()))
    assert scores.weight == 1
    return scores.values


def test_metrics_match_official(golden_metrics: dict[str, Any]) -> None:
    golden = golden_metrics["pointmap"]
    truth = build_cloud(np.array(golden["gt"]), np.array(golden["gt_normals"]))
    reconstruction = build_cloud(np.array(golden["rec"]), np.array(golden["rec_normals"]))
    for source, target, key in (
        (reconstruction, truth, "acc_mean_med_nc1_mean_med"),
        (truth, reconstruction, "comp_mean_med_nc2_mean_med"),
    ):
        distance, cosine = nearest(source, target)
        ours = [distance.mean(), np.median(distance), cosine.mean(), np.median(cosine)]
        np.testing.assert_allclose(ours, golden[key], atol=1e-6)


def test_normals_match_open3d() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 400))
    normals = build_cloud(np.stack([x, y, 0.3 * np.sin(3 * x) * np.cos(2 * y)], -1)).normals
    expected = np.array(  # rows 0, 57, 399 of estimate_normals of Open3D 0.20.0
        [
            [-0.196606085066, -0.337251424948, 0.920656028974],
            [0.189842522269, -0.242697956145, 0.951345110263],
            [-0.057717656141, 0.220353206911, -0.973711012762],
        ]
    )
    np.testing.assert_allclose(np.abs((normals[[0, 57, 399]] * expected).sum(-1)), 1, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-9)


def test_normals_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(3).normal(size=(100, 3))
    whole = build_cloud(points).normals
    monkeypatch.setattr("fgq_bench.tasks.pointmap_metrics.CHUNK", 33)
    np.testing.assert_array_equal(build_cloud(points).normals, whole)


def test_normals_of_a_small_flat_cloud() -> None:
    flat = np.random.default_rng(4).normal(size=(5, 3)) * [1, 1, 0]
    np.testing.assert_allclose(np.abs(build_cloud(flat).normals), [[0, 0, 1]] * 5, atol=1e-9)


def test_copies_beyond_a_patch_change_nothing_and_are_not_searched() -> None:
    places = np.random.default_rng(6).normal(size=(40, 3))
    points = np.concatenate([places, np.repeat(places[:3], 500, 0)])
    rows = distinct_rows(points)
    counts = np.unique(points[rows], axis=0, return_counts=True)[1]
    assert sorted(counts) == [1] * 37 + [30] * 3
    cloud, other = build_cloud(points), build_cloud(places + 0.01)
    found, index = cKDTree(points).query(other.points)
    distance, cosine = nearest(other, cloud)
    np.testing.assert_allclose(distance, found)
    np.testing.assert_allclose(cosine, np.abs((other.normals * cloud.normals[index]).sum(-1)), atol=1e-9)


def test_spatial_order_is_a_permutation() -> None:
    points = np.random.default_rng(5).normal(size=(500, 3))
    order = spatial_order(points)
    np.testing.assert_array_equal(np.sort(order), np.arange(500))
    ordered = points[order]
    assert (
        np.linalg.norm(np.diff(ordered, axis=0), axis=1).mean() < np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    )


@pytest.mark.parametrize("source", ["points", "depth+camera"])
def test_a_perfect_prediction_scores_perfectly(source: str) -> None:
    scene = make_scene()
    found = values(scene, perfect(scene))
    for kind in ("acc_mean", "acc_median", "comp_mean", "comp_median"):
        assert found[f"{kind}_{source}"] == pytest.approx(0, abs=1e-6)
    # On a regular grid the 30th neighbour is a tie, which rounding decides: normals agree only so far.
    assert found[f"nc_mean_{source}"] == pytest.approx(1, abs=1e-3)
    assert found[f"nc_median_{source}"] == pytest.approx(1, abs=1e-6)


def test_each_source_reads_its_own_prediction() -> None:
    scene = make_scene()
    noise = torch.randn(FRAMES, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    exact, noisy = values(scene, perfect(scene)), perfect(scene)
    assert noisy.points is not None
    assert noisy.depth is not None
    noisy.points += 0.3 * 0.02 * noise
    found = values(scene, noisy)
    assert 0.005 < found["acc_mean_points"] < 0.04  # 2 cm of noise per axis, metres
    assert found["nc_mean_points"] < 0.99
    assert {k: v for k, v in found.items() if "depth" in k} == {k: v for k, v in exact.items() if "depth" in k}
    bent = perfect(scene)
    assert bent.pose_enc is not None
    bent.pose_enc[1, 4] += 0.1
    found = values(scene, bent)
    assert found["acc_mean_depth+camera"] > 0.01
    assert {k: v for k, v in found.items() if k.endswith("points")} == {
        k: v for k, v in exact.items() if k.endswith("points")
    }


class NoIcp(PointMap):
    icp_threshold: ClassVar[float] = 1e-12


def test_icp_repairs_what_outliers_did_to_the_first_alignment() -> None:
    scene = make_scene()
    prediction = perfect(scene)
    assert prediction.points is not None
    prediction.points[0, :4] += 0.3 * 0.8  # a sixth of one frame floats 80 cm away along each axis
    with_icp, without = values(scene, prediction), values(scene, prediction, NoIcp())
    assert with_icp["acc_median_points"] < 0.7 * without["acc_median_points"]


def test_the_alignment_states_the_threshold() -> None:
    assert PointMap.icp_threshold == 0.1
    assert "0.1 m" in PointMap.alignment


def test_predicting_half_of_the_wall_twice_costs_completeness() -> None:
    scene = make_scene()
    prediction = perfect(scene)
    assert prediction.points is not None
    prediction.points[:, :, 12:] = prediction.points[:, :, :12].clone()
    found = values(scene, prediction)
    assert found["comp_mean_points"] > 2 * found["acc_mean_points"]


def test_invalid_pixels_are_never_looked_at() -> None:
    scene = make_scene()
    assert scene.depth is not None
    assert scene.mask is not None
    prediction = perfect(scene)
    scene.mask[:, :5] = False
    before = values(scene, prediction)
    scene.depth[:, :5] = math.inf
    assert prediction.points is not None
    prediction.points[:, :5] = math.nan
    assert values(scene, prediction) == before


def test_a_scene_without_depth_is_named() -> None:
    scene = make_scene()
    assert scene.mask is not None
    scene.mask[:] = False
    with pytest.raises(ValueError, match="s: fewer than 3 pixels"):
        PointMap().score(scene, perfect(scene), None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_broken_points_count_as_far_away(bad: float) -> None:
    scene = make_scene()
    prediction = perfect(scene)
    assert prediction.points is not None
    prediction.points[:, : SIZE // 4, :, 1] = bad
    found = values(scene, prediction)
    assert found["acc_mean_points"] == pytest.approx(LARGE / 4)
    assert found["acc_median_points"] == pytest.approx(0, abs=1e-6)
    assert found["nc_mean_points"] == pytest.approx((0.75 + 1) / 2, abs=0.01)
    assert found["comp_mean_points"] < 0.1


def test_normal_consistency_averages_both_directions() -> None:
    truth = build_cloud(np.random.default_rng(7).normal(size=(300, 3)))
    predicted = truth.points + 0.5 * np.random.default_rng(8).normal(size=(300, 3))
    first = umeyama(predicted, truth.points, with_scale=True).apply(predicted)
    cloud = build_cloud(icp(first, truth.tree, 0.2).transform.apply(first))
    (_, forward), (_, backward) = nearest(cloud, truth), nearest(truth, cloud)
    found = score_points(predicted, truth, 0.2)
    assert abs(forward.mean() - backward.mean()) > 0.01
    assert found["nc_mean"] == pytest.approx((forward.mean() + backward.mean()) / 2)
    assert found["nc_median"] == pytest.approx((np.median(forward) + np.median(backward)) / 2)


BROKEN = {"nan": math.nan, "inf": math.inf, "constant": 0.1}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_a_collapsed_prediction_gets_the_worst_values(value: float) -> None:
    scene = make_scene()
    prediction = perfect(scene)
    assert prediction.points is not None
    prediction.points[:] = value
    assert prediction.pose_enc is not None
    prediction.pose_enc[:] = math.nan
    assert values(scene, prediction) == WORST


def test_half_precision_and_a_destroyed_model_do_not_crash() -> None:
    scene = make_scene()
    noise = torch.Generator().manual_seed(0)
    pose = torch.randn(FRAMES, 9, generator=noise)
    depth = torch.rand(FRAMES, SIZE, SIZE, generator=noise).half()
    points = (6e4 * torch.randn(FRAMES, SIZE, SIZE, 3, generator=noise)).half()  # some overflow
    found = values(scene, SequencePrediction(pose, depth, points))
    assert found["acc_mean_points"] > 1
