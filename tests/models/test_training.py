"""The trainer: curriculum as data, seeded, resumable to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from samples import MICRO

from fgq_bench.geometry import decode_pose, unproject_depth
from fgq_bench.models.tiny import RECIPE, TINY
from fgq_bench.models.training.batches import draw_batch, make_batch
from fgq_bench.models.training.losses import pose_loss, scale_gradient
from fgq_bench.models.training.recipe import Phase, knobs_at, total_steps, truncate
from fgq_bench.models.training.trainer import Trainer, split_parameters
from fgq_bench.models.vggt import VGGT

SHORT = (
    Phase(3, 2, 2, rate=(1e-4, 1e-3), studio=(1, 0.5)),
    Phase(3, 2, 2, rate=(1e-3, 1e-3), studio=(0.5, 0), rooms=(0.5, 0.5)),
)


pytestmark = pytest.mark.usefixtures("eager")


def make(folder: Path, recipe: tuple[Phase, ...] = SHORT) -> Trainer:
    return Trainer(MICRO, recipe, 0, torch.device("cpu"), folder)


def test_knobs_ramp_linearly() -> None:
    assert knobs_at(SHORT, 0).rate == 1e-4
    assert knobs_at(SHORT, 1).studio == 0.75
    assert knobs_at(SHORT, 5).studio == 0
    with pytest.raises(IndexError):
        knobs_at(SHORT, 6)


def test_truncated_recipe_takes_the_same_steps() -> None:
    for steps in (1, 2, 3, 5, total_steps(RECIPE) - 7):
        recipe = SHORT if steps <= 6 else RECIPE
        short = truncate(recipe, steps)
        assert total_steps(short) == steps
        for step in {0, steps // 2, steps - 1}:
            ours, theirs = knobs_at(short, step), knobs_at(recipe, step)
            assert ours.rate == pytest.approx(theirs.rate)
            assert ours.studio == pytest.approx(theirs.studio)


def test_recipe_ends_in_fully_random_surroundings() -> None:
    last = knobs_at(RECIPE, total_steps(RECIPE) - 1)
    assert last.studio == 0
    assert last.spread == 1
    assert 0.2 <= last.rooms <= 0.8


def test_targets_are_consistent_and_normalised() -> None:
    batch = make_batch(draw_batch(0, knobs_at(SHORT, 0), 0), 56, torch.device("cpu"))
    extrinsics, intrinsics = decode_pose(batch.pose_enc, (56, 56))
    torch.testing.assert_close(extrinsics[:, 0], torch.eye(3, 4).expand(2, 3, 4), atol=1e-5, rtol=0)
    points = unproject_depth(batch.depth, extrinsics, intrinsics)
    torch.testing.assert_close(points, batch.points, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(batch.points.norm(dim=-1).mean((1, 2, 3)), torch.ones(2), atol=1e-5, rtol=0)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole")
    whole_rows = [whole.train_step() for _ in range(4)]
    first = make(tmp_path / "parts")
    for _ in range(2):
        first.train_step()
    first.save()
    second = make(tmp_path / "parts")
    assert second.resume()
    rows = [second.train_step() for _ in range(2)]
    assert rows == whole_rows[2:]
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_run_writes_curves_and_checkpoint(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    model = trainer.run(lambda candidate: {"score": 1.0}, every=3)
    assert trainer.step == 6
    assert model is trainer.average
    assert (tmp_path / "scores.jsonl").read_text().count('"score": 1.0') == 2
    assert not make(tmp_path / "other").resume()


def test_one_batch_can_be_learned(tmp_path: Path) -> None:
    """Twenty steps on the same scenes cut the loss by a third at least: gradients flow through every part."""
    trainer = make(tmp_path, (Phase(40, 2, 2, rate=(2e-3, 2e-3), studio=(1, 1)),))
    losses = []
    for _ in range(20):
        losses.append(trainer.train_step()["patch"])
        trainer.step = 0
    assert losses[-1] < 0.67 * losses[0]


def test_muon_gets_the_matrices_of_blocks_only() -> None:
    matrices, others = split_parameters(VGGT(TINY))
    assert len(matrices) == 4 * (4 + 4 + 2 + 1)
    assert sum(p.numel() for p in matrices + others) <= 9_500_000


def test_gradient_is_scaled_and_the_value_is_not() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    y = scale_gradient(x, 0.25)
    y.sum().backward()
    assert y.item() == 2
    assert x.grad is not None
    assert x.grad.item() == 0.25


def test_later_refinement_steps_weigh_more() -> None:
    target, off = torch.zeros(1, 1, 9), torch.ones(1, 1, 9)
    assert pose_loss([target, off], target) > pose_loss([off, target], target)
