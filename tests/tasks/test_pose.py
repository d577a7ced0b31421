"""Pose metrics against the official metric code, and their own algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgq_bench.geometry import (
    compose_rigid,
    decode_pose,
    encode_pose,
    first_camera_motions,
    invert_rigid,
    quaternion_to_matrix,
)
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import SequencePrediction
from fgq_bench.tasks.pose import Pose, PoseFirstCamera
from fgq_bench.tasks.pose_metrics import auc, direction_angle, pair_errors, recall, rotation_angle


def golden_poses(golden: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(golden[key], dtype=torch.float64)[:, :3] for key in ("pred_w2c", "gt_w2c"))  # type: ignore[return-value]


def test_pair_errors_match_official(golden_metrics: dict[str, Any]) -> None:
    rotation, translation = pair_errors(*golden_poses(golden_metrics))
    np.testing.assert_allclose(rotation, golden_metrics["rotation_error_deg"], atol=1e-6)
    np.testing.assert_allclose(translation, golden_metrics["translation_error_deg"], atol=1e-6)


@pytest.mark.parametrize("threshold", [3, 5, 15, 30])
def test_auc_matches_official(golden_metrics: dict[str, Any], threshold: int) -> None:
    errors = pair_errors(*golden_poses(golden_metrics))
    assert auc(*errors, threshold) == pytest.approx(golden_metrics[f"auc@{threshold}"], abs=1e-6)


@pytest.mark.parametrize("threshold", [5, 30])
def test_recall_matches_official(golden_metrics: dict[str, Any], threshold: int) -> None:
    rotation, translation = pair_errors(*golden_poses(golden_metrics))
    assert 100 * recall(rotation, threshold) == pytest.approx(golden_metrics[f"rra@{threshold}_percent"], abs=1e-6)
    assert 100 * recall(translation, threshold) == pytest.approx(golden_metrics[f"rta@{threshold}_percent"], abs=1e-6)


def test_pose_encoding_matches_official_and_inverts(golden_metrics: dict[str, Any]) -> None:
    _, extrinsics = golden_poses(golden_metrics)
    intrinsics = torch.tensor(golden_metrics["K"], dtype=torch.float64).expand(len(extrinsics), 3, 3)
    height, width = golden_metrics["image_hw"]
    encoded = encode_pose(extrinsics, intrinsics, (height, width))
    expected = torch.tensor(golden_metrics["pose_enc"], dtype=torch.float64)
    torch.testing.assert_close(encoded, expected, atol=1e-6, rtol=0)
    again, _ = decode_pose(encoded, (height, width))
    torch.testing.assert_close(again, extrinsics, atol=1e-9, rtol=0)


quaternions = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(x * x for x in q) > 1e-3)


@settings(deadline=None)
@given(quaternions)
def test_quaternion_round_trip(values: list[float]) -> None:
    rotation = quaternion_to_matrix(torch.tensor(values, dtype=torch.float64))
    pose = torch.cat([rotation, torch.ones(3, 1, dtype=torch.float64)], 1)
    encoded = encode_pose(pose, 50 * torch.eye(3, dtype=torch.float64), (84, 84))
    assert encoded[6] >= 0
    torch.testing.assert_close(quaternion_to_matrix(encoded[3:7]), rotation, atol=1e-9, rtol=0)
    identity = compose_rigid(pose, invert_rigid(pose))
    torch.testing.assert_close(identity, torch.eye(3, 4, dtype=torch.float64), atol=1e-9, rtol=0)


@settings(deadline=None)
@given(st.lists(st.floats(0, 180), min_size=1, max_size=30))
def test_auc_identity_bound(errors: list[float]) -> None:
    error = np.array(errors)
    assert auc(error, error, 30) <= (1 + auc(error, error, 15)) / 2 + 1e-12


def test_small_angles_are_accurate() -> None:
    angle = 1e-7
    rotation = torch.eye(3, dtype=torch.float64)
    rotation[0, 1], rotation[1, 0] = -angle, angle
    assert rotation_angle(rotation, torch.eye(3, dtype=torch.float64)).item() == pytest.approx(
        np.degrees(angle), rel=1e-6
    )


def test_direction_is_folded_and_undefined_direction_fails() -> None:
    x = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    assert direction_angle(x, -x).item() == 0
    assert direction_angle(x, 0 * x).item() == 1e6


def test_nan_prediction_counts_as_wrong(golden_metrics: dict[str, Any]) -> None:
    predicted, truth = golden_poses(golden_metrics)
    predicted[2] = float("nan")
    rotation, translation = pair_errors(predicted, truth)
    assert (rotation == 1e6).sum() == (translation == 1e6).sum() == 6
    assert auc(rotation, translation, 30) < 1


def test_task_scores_truth_perfectly(golden_metrics: dict[str, Any]) -> None:
    _, truth = golden_poses(golden_metrics)
    truth = compose_rigid(truth, invert_rigid(truth[:1]).expand_as(truth))
    intrinsics = torch.tensor([[50.0, 0, 42], [0, 50, 42], [0, 0, 1]], dtype=torch.float64).expand(7, 3, 3)
    scene = Scene("s", "c", torch.zeros(7, 3, 84, 84), truth, intrinsics, None, None)
    score = Pose().score(scene, SequencePrediction(encode_pose(truth, intrinsics, (84, 84)).float()), None)
    assert score.values["auc@3"] == 1
    assert score.weight == 21


def test_quantvggt_pairs_poses_the_other_way_round(golden_metrics: dict[str, Any]) -> None:
    """Its release: E_i^-1 E_j of 4 x 4 world-to-camera matrices once the first is the identity."""
    predicted, truth = golden_poses(golden_metrics)
    square = torch.cat([truth, torch.tensor([0, 0, 0, 1.0]).double().expand(len(truth), 1, 4)], 1)
    aligned = square @ torch.linalg.inv(square[0])
    first, second = torch.triu_indices(len(truth), len(truth), 1)
    expected = torch.linalg.inv(aligned[first]) @ aligned[second]
    torch.testing.assert_close(first_camera_motions(truth), expected[:, :3])
    scores = {}
    for task in (Pose(), PoseFirstCamera()):
        scene = Scene("s", "c", torch.zeros(7, 3, 84, 84), truth, None, None, None)
        intrinsics = 50 * torch.eye(3, dtype=torch.float64).expand(7, 3, 3)
        made = SequencePrediction(encode_pose(predicted, intrinsics, (84, 84)).float())
        scores[task.name] = task.score(scene, made, None).values
    rotation, translation = pair_errors(predicted, truth, first_camera_motions)
    assert scores["pose-first-camera"]["auc@30"] == pytest.approx(auc(rotation, translation, 30), abs=1e-3)
    assert scores["pose-first-camera"]["translation_error"] != pytest.approx(
        scores["pose"]["translation_error"], rel=0.01
    )


def test_the_world_does_not_matter_to_either_pairing(golden_metrics: dict[str, Any]) -> None:
    _, truth = golden_poses(golden_metrics)
    moved = compose_rigid(truth, invert_rigid(truth[3:4]).expand_as(truth))
    torch.testing.assert_close(first_camera_motions(moved), first_camera_motions(truth))
