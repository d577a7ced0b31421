"""Least-absolute-deviation alignment: exact scales, robust against outliers, maps of other sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import LARGE, SequencePrediction
from fgq_bench.tasks.depth import Depth, at_truth
from fgq_bench.tasks.depth_l1 import DepthL1, align_l1_scale, align_l1_scale_shift, weighted_median


def scene_of(depth: Tensor) -> Scene:
    return Scene("s", "c", torch.zeros(len(depth), 3, 28, 28), None, None, depth, depth > 0)


def noisy() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(501, generator=generator, dtype=torch.float64) * 9 + 1
    return truth, torch.rand(501, generator=generator, dtype=torch.float64) * 9 + 1


def loss(fitted: Tensor, truth: Tensor) -> float:
    return float((fitted - truth).abs().sum())


def test_weighted_median_by_hand() -> None:
    assert weighted_median(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 5.0])) == 2
    assert weighted_median(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([9.0, 1.0, 5.0])) == 3


def test_no_scale_beats_the_l1_scale() -> None:
    truth, predicted = noisy()
    best = align_l1_scale(predicted, truth)
    scale = float((best / predicted)[0])
    for other in torch.linspace(0.5 * scale, 1.5 * scale, 401, dtype=torch.float64):
        assert loss(best, truth) <= loss(other * predicted, truth) + 1e-9


def test_no_line_beats_the_l1_line() -> None:
    truth, predicted = noisy()
    best = loss(align_l1_scale_shift(predicted, truth), truth)
    for scale in torch.linspace(-1, 2, 61):
        residual = truth - scale * predicted
        assert best <= loss(scale * predicted + residual.median(), truth) * (1 + 1e-6)


def test_a_third_of_wild_truth_does_not_move_the_fits() -> None:
    truth = torch.linspace(1, 10, 301, dtype=torch.float64)
    wild = truth.clone()
    wild[::3] = 80.0
    for align, predicted in ((align_l1_scale, truth / 3), (align_l1_scale_shift, (truth - 0.5) / 3)):
        torch.testing.assert_close(align(predicted, wild), truth, rtol=0, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_broken_predictions_get_the_worst_values_not_an_error(value: float) -> None:
    scene = scene_of(torch.full((1, 4, 4), 2.0))
    scores = DepthL1().score(scene, SequencePrediction(depth=torch.full((1, 4, 4), value)), None)
    assert all(v == v for v in scores.values.values())
    assert scores.values["delta_1.25_scale"] in (0.0, LARGE)


def test_a_prediction_of_another_size_is_resized_to_the_truth() -> None:
    fine = torch.linspace(1, 2, 64).repeat(1, 48, 1)
    coarse = torch.linspace(1, 2, 16).repeat(1, 12, 1)
    resized = at_truth(coarse, scene_of(fine))
    assert resized.shape == (64 * 48,)
    assert float((resized - fine.double().flatten()).abs().median()) < 0.02
    assert Depth().score(scene_of(fine), SequencePrediction(depth=coarse), None).values["delta_1.25_median"] == 1


def test_sparse_truth_is_never_interpolated() -> None:
    truth = torch.zeros(1, 8, 8)
    truth[0, 3, 5] = 7.0
    scores = DepthL1().score(scene_of(truth), SequencePrediction(depth=torch.full((1, 4, 4), 3.5)), None)
    assert scores.weight == 1
    assert scores.values["abs_rel_scale"] == pytest.approx(0)
