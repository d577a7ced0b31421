"""Agreement with full precision."""

from __future__ import annotations

import math

import pytest
import torch

from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.agreement import Agreement
from fgq_bench.tasks.base import SequencePrediction

SCENE = Scene("s", "c", torch.zeros(3, 3, 28, 28), None, None, None, None)


def reference() -> SequencePrediction:
    pose = torch.zeros(3, 9)
    pose[:, 6], pose[:, 7:] = 1, 1.0
    pose[1, :3] = torch.tensor([0.5, 0, 0])
    depth = 1 + torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(0))
    return SequencePrediction(pose, depth, depth[..., None].expand(-1, -1, -1, 3).clone())


def test_identical_predictions_agree_exactly() -> None:
    values = Agreement().score(SCENE, reference(), reference()).values
    assert set(values.values()) == {0.0}


def test_known_changes_are_read_back() -> None:
    moved = reference()
    assert moved.depth is not None
    assert moved.points is not None
    moved.depth *= 1.1
    moved.points *= 0.8
    assert moved.pose_enc is not None
    moved.pose_enc[2, 3:7] = torch.tensor([math.sin(0.05), 0, 0, math.cos(0.05)])
    values = Agreement().score(SCENE, moved, reference()).values
    assert values["depth"] == pytest.approx(0.1, rel=1e-5)
    assert values["points"] == pytest.approx(0.2, rel=1e-5)
    assert values["rotation"] == pytest.approx(math.degrees(0.1) * 2 / 3, rel=1e-4)  # two of three pairs


def test_nan_prediction_gives_a_large_finite_number() -> None:
    broken = reference()
    assert broken.pose_enc is not None
    broken.pose_enc[1] = float("nan")
    values = Agreement().score(SCENE, broken, reference()).values
    assert values["rotation"] == 1e6
    assert values["centre"] == 1e6


def test_a_single_frame_is_compared_by_its_own_rotation() -> None:
    whole, moved = reference(), reference()
    first, second = (
        SequencePrediction(p.pose_enc[:1], p.depth[:1], p.points[:1])  # type: ignore[index]
        for p in (whole, moved)
    )
    assert Agreement().score(SCENE, second, first).values["rotation"] == 0
    assert second.pose_enc is not None
    second.pose_enc[0, 3:7] = torch.tensor([math.sin(0.05), 0, 0, math.cos(0.05)])
    assert Agreement().score(SCENE, second, first).values["rotation"] == pytest.approx(math.degrees(0.1), rel=1e-4)
