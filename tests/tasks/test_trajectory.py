"""Trajectory errors: known motions, degenerate paths, and a real SLAM trajectory scored by evo."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from fgq_bench.geometry import camera_centers, encode_pose, invert_rigid, quaternion_to_matrix
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import LARGE, SequencePrediction
from fgq_bench.tasks.trajectory import Trajectory
from fgq_bench.tasks.trajectory_metrics import ate_rmse, frame_motions, has_three_centres, rpe_rmse

TUM = Path(__file__).parents[2].parent / "shared/realdata/tum_rgbd/rgbd_dataset_freiburg1_xyz_textonly"
NAMES = {metric.name for metric in Trajectory.metrics}


def poses_c2w(rotation_vectors: NDArray[np.float64], centres: NDArray[np.float64]) -> Tensor:
    """c2w poses [S, 3, 4] from axis-angle [S, 3] and centres [S, 3]."""
    rotation = torch.as_tensor(Rotation.from_rotvec(rotation_vectors).as_matrix())
    return torch.cat([rotation, torch.as_tensor(centres)[..., None]], -1)


def path(frames: int = 12) -> Tensor:
    """w2c extrinsics [S, 3, 4] along a helix, metres."""
    t = np.linspace(0, 3, frames)
    return invert_rigid(poses_c2w(np.stack([t, 0.3 * t, -t], -1), np.stack([np.cos(t), np.sin(t), 0.5 * t], -1)))


def transformed(extrinsics: Tensor, scale: float) -> Tensor:
    """The same cameras in a turned, shifted and scaled world."""
    c2w = invert_rigid(extrinsics)
    turn = torch.as_tensor(Rotation.from_rotvec([1.0, 0.2, -0.4]).as_matrix())
    centres = scale * c2w[..., 3] @ turn.T + torch.tensor([3.0, -1.0, 2.0]).double()
    return invert_rigid(torch.cat([turn @ c2w[..., :3], centres[..., None]], -1))


def score(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    intrinsics = 50 * torch.eye(3, dtype=torch.float64).expand(len(truth), 3, 3)
    scene = Scene("s", "c", torch.zeros(len(truth), 3, 28, 28), truth, intrinsics, None, None)
    result = Trajectory().score(scene, SequencePrediction(encode_pose(predicted, intrinsics, (28, 28))), None)
    assert set(result.values) == NAMES
    assert all(map(math.isfinite, result.values.values()))
    assert result.weight == 1
    return result.values


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_another_world_frame_costs_nothing_and_another_scale_only_se3(scale: float) -> None:
    found = score(transformed(path(), scale), path())
    for name in ("ate_sim3", "rpe_translation_sim3", "rpe_rotation"):
        assert found[name] == pytest.approx(0, abs=1e-6)
    centres = camera_centers(path())
    spread = (centres - centres.mean(0)).square().sum(-1).mean().sqrt().item()
    steps = frame_motions(path())[..., 3].norm(dim=-1).square().mean().sqrt().item()
    assert found["ate_se3"] == pytest.approx((scale - 1) * spread, abs=1e-6)
    assert found["rpe_translation_se3"] == pytest.approx((scale - 1) * steps, abs=1e-6)


def test_rpe_reads_back_a_known_drift() -> None:
    steps = np.arange(10.0)
    truth = invert_rigid(poses_c2w(np.zeros((10, 3)), np.outer(steps, [1.0, 0.0, 0.0])))
    drift = poses_c2w(np.outer(steps, [0.0, 0.0, math.radians(2)]), np.outer(steps, [1.0, 0.0, 0.0]))
    translation, rotation = rpe_rmse(invert_rigid(drift), truth)
    assert rotation == pytest.approx(2, abs=1e-9)
    expected = [
        2 * math.sin(math.radians(2 * step) / 2) for step in range(9)
    ]  # each step is seen turned by 2 i degrees
    assert translation == pytest.approx(math.sqrt(np.square(expected).mean()), abs=1e-9)


def test_ate_counts_one_displaced_centre() -> None:
    truth = camera_centers(path(200)).numpy()
    moved = truth.copy()
    moved[100] += [0.0, 0.0, 0.1]
    error, _ = ate_rmse(moved, truth, with_scale=False)
    assert error == pytest.approx(0.1 / math.sqrt(200), rel=0.02)


def test_a_straight_path_is_scored() -> None:
    rotation = np.linspace(0, 1, 6)[:, None] * [0.1, 0.2, 0.3]
    truth = invert_rigid(poses_c2w(rotation, np.outer(np.arange(6.0), [1.0, 2.0, 0.5])))
    found = score(transformed(truth, 3.0), truth)
    assert found["ate_sim3"] == pytest.approx(0, abs=1e-6)
    assert found["ate_se3"] > 1


@pytest.mark.parametrize("which", ["prediction", "truth", "both"])
def test_too_few_distinct_centres_leave_only_relative_errors_without_scale(which: str) -> None:
    still = path().clone()
    still[:, :, 3:] = -still[:, :, :3] @ torch.tensor([[0.1], [0.2], [0.3]]).double()  # all centres at one point
    found = score(still if which != "truth" else path(), still if which != "prediction" else path())
    assert {name for name, value in found.items() if value == LARGE} == {"ate_sim3", "ate_se3", "rpe_translation_sim3"}
    assert found["rpe_rotation"] == pytest.approx(0, abs=1e-6)


def test_two_frames_are_too_few_for_ate() -> None:
    found = score(transformed(path(2), 2.0), path(2))
    assert found["ate_sim3"] == LARGE
    assert found["rpe_translation_se3"] > 0.1
    assert found["rpe_rotation"] == pytest.approx(0, abs=1e-6)


def test_one_frame_defines_nothing() -> None:
    assert set(score(path(1), path(1)).values()) == {LARGE}


def test_a_prediction_that_is_not_finite_gets_large_numbers() -> None:
    broken = path()
    broken[3, 0, 3] = math.nan
    assert set(score(broken, path()).values()) == {LARGE}


def test_distinct_centres_are_counted_beyond_rounding() -> None:
    base = np.array([[1.0, 2, 3], [1, 2, 4]])
    jitter = 1e-8 * np.random.default_rng(0).normal(size=(6, 3))
    assert not has_three_centres(np.concatenate([base, base, base]) + jitter)
    assert has_three_centres(np.array([[1.0, 2, 3], [1, 2, 4], [1, 2, 4.001]]))


def read_tum(name: str) -> tuple[NDArray[np.float64], Tensor]:
    """Time stamps [S] in seconds and w2c extrinsics [S, 3, 4] of a TUM trajectory (c2w: t xyz, q xyzw)."""
    if not TUM.is_dir():
        pytest.skip(f"needs the TUM sample files in {TUM}")
    rows = np.loadtxt(TUM / name)
    rotation = quaternion_to_matrix(torch.as_tensor(rows[:, 4:]))
    return rows[:, 0], invert_rigid(torch.cat([rotation, torch.as_tensor(rows[:, 1:4, None])], -1))


def associated(name: str, within: float = 0.01) -> tuple[Tensor, Tensor]:
    """Estimated and true extrinsics whose time stamps lie nearest to each other, at most ``within`` seconds apart."""
    (times, estimate), (true_times, truth) = read_tum(name), read_tum("groundtruth.txt")
    gaps = np.abs(times[:, None] - true_times)
    match = gaps.argmin(1)
    kept = gaps.min(1) <= within
    return estimate[kept], truth[match[kept]]


# evo 1.38.1: pairs, then per alignment ATE RMSE (m), RPE translation RMSE (m); RPE rotation RMSE (degrees)
EVO = {
    "freiburg1_xyz-rgbdslam.txt": (785, (0.013470089, 0.005764371), (0.013389385, 0.005805695), 0.353613161),
    "freiburg1_xyz-ORB_kf_mono.txt": (32, (0.024301632, 0.025265936), (0.009754582, 0.013834918), 0.884848960),
}


@pytest.mark.parametrize("name", EVO)
def test_tum_trajectories_match_evo(name: str) -> None:
    pairs, *alignments, rotation = EVO[name]
    estimate, truth = associated(name)
    assert len(estimate) == pairs
    for with_scale, expected in zip((False, True), alignments, strict=True):
        error, scale = ate_rmse(camera_centers(estimate).numpy(), camera_centers(truth).numpy(), with_scale=with_scale)
        found = (error, *rpe_rmse(estimate, truth, scale))
        assert found == pytest.approx((*expected, rotation), abs=1e-6)


def test_tum_rgbdslam_has_its_published_error() -> None:
    estimate, truth = associated("freiburg1_xyz-rgbdslam.txt")
    error, _ = ate_rmse(camera_centers(estimate).numpy(), camera_centers(truth).numpy(), with_scale=False)
    assert error == pytest.approx(0.0135, abs=5e-5)
