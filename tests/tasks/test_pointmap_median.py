"""Point maps aligned by medians: what it forgives, what it does not, and where it looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fgq_bench.geometry import encode_pose
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks import pointmap_median
from fgq_bench.tasks.base import LARGE, SequencePrediction
from fgq_bench.tasks.pointmap import true_points
from fgq_bench.tasks.pointmap_median import PointMapMedian, in_centre

WIDTH, HEIGHT, FRAMES = 56, 42, 2


def make_scene() -> Scene:
    """Two cameras 10 cm apart before a wavy wall; the first one is not the world."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) / HEIGHT, torch.arange(WIDTH) / WIDTH, indexing="ij")
    depth = (2 + 0.2 * torch.sin(5 * columns) * torch.cos(4 * rows)).repeat(FRAMES, 1, 1)
    extrinsics = torch.eye(3, 4).repeat(FRAMES, 1, 1)
    extrinsics[:, :, :3] = torch.as_tensor(Rotation.from_rotvec([0.1, 0.6, 0.2]).as_matrix()).float()
    extrinsics[1, 0, 3] = 0.1
    intrinsics = torch.tensor([[60.0, 0, WIDTH / 2], [0, 60.0, HEIGHT / 2], [0, 0, 1]]).expand(FRAMES, 3, 3)
    images = torch.zeros(FRAMES, 3, HEIGHT, WIDTH)
    return Scene("s", "c", images, extrinsics, intrinsics, depth, torch.ones_like(depth, dtype=torch.bool))


def prediction_of(scene: Scene, scale: float = 1.0) -> SequencePrediction:
    """The truth as the model says it: first camera's frame, any scale."""
    first = scene.extrinsics[0].double()  # type: ignore[index]
    points = scale * (true_points(scene) @ first[:, :3].T + first[:, 3])
    poses = scene.extrinsics.double()  # type: ignore[union-attr]
    relative = torch.cat([poses[:, :, :3] @ first[:, :3].T, poses[:, :, 3:] - poses[:, :, :3] @ first[:, :3].T @ first[:, 3:]], -1)  # fmt: skip
    relative[..., 3] *= scale
    pose = encode_pose(relative, scene.intrinsics.double(), (HEIGHT, WIDTH))  # type: ignore[union-attr]
    return SequencePrediction(pose, scale * scene.depth, points)  # type: ignore[operator,arg-type]


def score(scene: Scene, prediction: SequencePrediction) -> dict[str, float]:
    return PointMapMedian().score(scene, prediction, None).values


@pytest.fixture(autouse=True)
def small_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_centre, "__defaults__", (28,))


@pytest.mark.parametrize("scale", [1.0, 0.2, 7.0])
def test_truth_at_any_scale_is_perfect_for_both_sources(scale: float) -> None:
    scene = make_scene()
    values = score(scene, prediction_of(scene, scale))
    for source in ("points", "depth+camera"):
        assert values[f"acc_mean_{source}"] < 1e-6
        assert values[f"comp_mean_{source}"] < 1e-6
        assert values[f"nc_mean_{source}"] > 0.999


def test_a_shift_along_z_is_forgiven_one_across_is_left_to_icp() -> None:
    scene, prediction = make_scene(), prediction_of(make_scene())
    assert prediction.points is not None
    prediction.points = prediction.points + torch.tensor([0.0, 0.0, 5.0])
    assert score(scene, prediction)["acc_mean_points"] < 1e-6
    prediction.points = prediction.points + torch.tensor([50.0, 0.0, 0.0])
    assert score(scene, prediction)["acc_mean_points"] > 1e-2


def test_only_the_centre_counts() -> None:
    scene, prediction = make_scene(), prediction_of(make_scene())
    assert prediction.points is not None
    assert scene.mask is not None
    assert int(in_centre(scene.mask).sum()) == FRAMES * 28 * 28
    clean = score(scene, prediction)
    prediction.points[:, 0, :3] += 0.3
    assert score(scene, prediction)["acc_mean_points"] == pytest.approx(clean["acc_mean_points"], abs=1e-3)
    prediction.points[:, HEIGHT // 2, WIDTH // 2] += 3
    assert score(scene, prediction)["acc_mean_points"] > 1e-3


def test_lost_points_count_as_far_away() -> None:
    scene, prediction = make_scene(), prediction_of(make_scene())
    assert prediction.points is not None
    prediction.points[:, HEIGHT // 2, WIDTH // 2] = float("nan")
    assert score(scene, prediction)["acc_mean_points"] == pytest.approx(LARGE * FRAMES / (FRAMES * 28 * 28), rel=1e-3)
    prediction.points[:] = float("inf")
    values = score(scene, prediction)
    assert (values["acc_mean_points"], values["nc_mean_points"]) == (LARGE, 0.0)


def test_collapsed_prediction_is_finite() -> None:
    scene, prediction = make_scene(), prediction_of(make_scene())
    assert prediction.points is not None
    prediction.points[:] = 1.0
    assert np.isfinite(list(score(scene, prediction).values())).all()


def test_thinning_is_seeded_and_common_to_both_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointmap_median, "MOST", 500)
    scene = make_scene()
    first, second = (score(scene, prediction_of(scene, 0.5)) for _ in range(2))
    assert first == second
    assert first["acc_mean_points"] < 1e-6
