"""Where the Fisher information is known in closed form the experiment must find it, and nothing in the controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from linear_model import BLOCK, CHANNELS, Linear

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.fisher import estimate
from fgq_bench.fisher_validity.injection import MEASURES, Degradation, inject
from fgq_bench.fisher_validity.predictors import ALL, PERMUTED, VARIANCE, fisher_predictors, measure_activations
from fgq_bench.fisher_validity.ranking import CEILING, Array, Ranked, interval, rank_blocks, rank_channels
from fgq_bench.fisher_validity.summary import contrast, summarize
from fgq_bench.task_losses import TASKS

pytestmark = pytest.mark.usefixtures("eager")
SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def toy(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    clips = CalibrationClips(load_manifest(str(manifest)), {})
    return Calibration(Linear(), "linear", clips, "float32", tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def damage(toy: Calibration) -> Degradation:
    torch.compiler.set_stance("force_eager")
    found = inject(toy, [BLOCK], torch.arange(CHANNELS)[None], SEEDS, 0.1)
    torch.compiler.set_stance("default")
    return found


@pytest.fixture(scope="module")
def ranked(toy: Calibration, damage: Degradation) -> Ranked:
    assert isinstance(toy.model, Linear)
    exact = {f"exact:{task}": values[None].double() for task, values in toy.model.fisher().items()}
    rankings = exact | {f"exact:{ALL}": sum(exact.values(), torch.zeros(()))}
    rankings |= {f"exact*:{task}": exact[f"exact:{task}"] for task in TASKS}
    activations = measure_activations(toy, [BLOCK])
    rankings |= fisher_predictors(toy, [BLOCK], ["gauss-newton"], activations.noise_by_type)
    rankings[VARIANCE] = activations.variance
    return rank_channels({name: values.numpy() for name, values in rankings.items()}, damage, CHANNELS)


def test_the_estimator_finds_the_closed_form(toy: Calibration) -> None:
    assert isinstance(toy.model, Linear)
    found = estimate(toy, [BLOCK], "gauss-newton", 8, 0)[:, 0].sum(1)
    for index, (task, exact) in enumerate(toy.model.fisher().items()):
        assert torch.corrcoef(torch.stack([found[index].log(), exact.log()]))[0, 1] > 0.99, task


def test_the_closed_form_predicts_the_damage(ranked: Ranked) -> None:
    for index, (measure, task) in enumerate(MEASURES.items()):
        if measure == "centre":  # translations do not move, centres turn about the origin by nothing
            continue
        value, low, _ = interval(ranked.of(f"exact:{task}")[:, index])
        assert value > 0.99 and low > 0.99, measure
        assert ranked.of(f"gauss-newton:{task}")[0, index] > 0.97, measure
        assert ranked.of(CEILING)[0, index] > 0.99, measure


def test_controls_are_near_zero(ranked: Ranked) -> None:
    chance = 1 / (CHANNELS - 1) ** 0.5  # standard deviation of the rank correlation of unrelated rankings
    for index, (measure, task) in enumerate(MEASURES.items()):
        if measure == "centre":
            continue
        value, low, high = interval(ranked.of(PERMUTED)[:, index])
        assert abs(value) < 0.05
        assert (high - low) / 4 == pytest.approx(chance, rel=0.15)
        for other in TASKS:
            if other != task:
                assert abs(ranked.of(f"exact:{other}")[0, index]) < 3 * chance


def test_high_against_low_channels(ranked: Ranked) -> None:
    found = contrast(ranked, ["exact"])
    for measure in ("rotation", "depth", "points"):
        assert found["exact, own task"][measure]["value"] > 100
        assert found[PERMUTED][measure]["ci_low"] < 1 < found[PERMUTED][measure]["ci_high"]


def test_comparisons_are_differences_of_correlations(ranked: Ranked) -> None:
    found = summarize(ranked, ["exact", "gauss-newton"])
    depth = list(MEASURES).index("depth")
    own, variance = ranked.of("exact:depth")[0, depth], ranked.of(VARIANCE)[0, depth]
    assert found["over_variance"]["exact"]["depth"]["value"] == pytest.approx(own - variance)
    others = (ranked.of("exact:camera")[0, depth] + ranked.of("exact:points")[0, depth]) / 2
    assert found["over_other_tasks"]["exact"]["depth"]["value"] == pytest.approx(own - others)
    assert found["over_other_tasks"]["exact"]["depth"]["ci_low"] > 0
    assert found["correlation"]["exact, own task"]["depth"] == found["by_task"]["exact, depth"]["depth"]


def synthetic(blocks: int, channels: int) -> tuple[Array, Degradation]:
    """Damage of 8 clips that grows with a known strength; a block's total with the sum of its channels'."""
    rng = np.random.default_rng(0)
    strength = rng.lognormal(size=(blocks, channels)) * np.arange(1, blocks + 1)[:, None]

    def errors(mean: Array) -> torch.Tensor:
        return torch.from_numpy(mean[..., None, None, None] * rng.lognormal(0, 0.02, (*mean.shape, 3, 8, len(MEASURES))))  # fmt: skip

    chosen = torch.arange(channels).repeat(blocks, 1)
    measured = Degradation([str(i) for i in range(blocks)], ["c"] * 8, chosen, errors(strength), errors(strength.sum(1)))  # fmt: skip
    return strength, measured


def test_blocks_are_ranked_by_their_totals() -> None:
    strength, measured = synthetic(10, 16)
    found = rank_blocks({"right": strength, "wrong": -strength}, measured)
    assert interval(found.of("right")[:, 0])[1] > 0.9
    assert found.of("wrong")[0, 0] == pytest.approx(-found.of("right")[0, 0])
    assert abs(found.of(PERMUTED)[0, 0]) < 0.05


def test_a_sample_of_the_channels_widens_the_interval() -> None:
    strength, measured = synthetic(3, 16)
    noisy = strength * np.random.default_rng(1).lognormal(0, 0.7, strength.shape)
    whole, sample = (interval(rank_channels({"f": noisy}, measured, width).of("f")[:, 0]) for width in (16, 17))
    assert whole[0] == sample[0]
    assert sample[2] - sample[1] > 3 * (whole[2] - whole[1])


def test_blocks_in_which_nothing_moves_are_left_out() -> None:
    strength, measured = synthetic(3, 16)
    measured.by_channel[1, ..., 0] = 0
    found = rank_channels({"right": strength}, measured, 16)
    assert found.blocks.tolist() == [2, 3, 3, 3]
    assert found.of("right")[0, 0] > 0.97
    assert found.octiles[0, 0, 0].mean() == pytest.approx(1)
