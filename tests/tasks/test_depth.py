"""Depth metrics under each alignment."""

from __future__ import annotations

import pytest
import torch

from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import SequencePrediction
from fgq_bench.tasks.depth import Depth, depth_errors


def scene_with(depth: torch.Tensor) -> Scene:
    mask = torch.ones_like(depth, dtype=torch.bool)
    mask[0, 0] = False
    return Scene("s", "c", torch.zeros(len(depth), 3, *depth.shape[1:]), None, None, depth, mask)


def test_known_values() -> None:
    truth = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    errors = depth_errors(torch.tensor([1.1, 1.0, 4.0], dtype=torch.float64), truth)
    assert errors["abs_rel"] == pytest.approx((0.1 + 0.5) / 3)
    assert errors["sq_rel"] == pytest.approx((0.01 + 0.5) / 3)
    assert errors["rmse"] == pytest.approx(((0.01 + 1) / 3) ** 0.5)
    assert errors["delta_1.25"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("alignment", "scale", "shift"), [("none", 1, 0), ("median", 3, 0), ("scale+shift", 3, 0.7)])
def test_alignment_undoes_exactly_its_own_ambiguity(alignment: str, scale: float, shift: float) -> None:
    torch.manual_seed(0)
    depth = 1 + torch.rand(2, 8, 8, dtype=torch.float64)
    prediction = SequencePrediction(torch.zeros(2, 9), (depth - shift) / scale)
    values = Depth().score(scene_with(depth), prediction, None).values
    for name in Depth.alignments:
        error = values[f"abs_rel_{name}"]
        assert (error < 1e-9) == (list(Depth.alignments).index(name) >= list(Depth.alignments).index(alignment)), name


def test_masked_pixels_do_not_count() -> None:
    depth = 1 + torch.rand(2, 8, 8, dtype=torch.float64)
    wrong = depth.clone()
    wrong[0, 0] = 99
    score = Depth().score(scene_with(depth), SequencePrediction(torch.zeros(2, 9), wrong), None)
    assert score.values["abs_rel_none"] == 0
    assert score.weight == 2 * 64 - 8


def test_infinite_prediction_gives_large_finite_numbers() -> None:
    depth = 1 + torch.rand(2, 8, 8, dtype=torch.float64)
    broken = depth.clone()
    broken[1, 3, 3] = float("inf")
    values = Depth().score(scene_with(depth), SequencePrediction(torch.zeros(2, 9), broken), None).values
    assert all(abs(value) <= 1e6 for value in values.values())
    assert values["rmse_none"] == 1e6


def test_negative_prediction_is_never_correct() -> None:
    truth = torch.ones(4, dtype=torch.float64)
    assert depth_errors(-truth, truth)["delta_1.25"] == 0
