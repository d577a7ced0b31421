"""The trainer: curriculum as data, seeded, resumable to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import MICRO, MICRO_PI3

from fgq_bench.geometry import compose_rigid, decode_pose, invert_rigid, unproject_depth
from fgq_bench.models.pi3 import Pi3
from fgq_bench.models.training.batches import draw_batch, make_batch
from fgq_bench.models.training.drawing import draw_ahead
from fgq_bench.models.training.losses import relative_loss, scale_gradient
from fgq_bench.models.training.objective import Training
from fgq_bench.models.training.pi3_objective import Pi3Objective, best_scale, inherit, local_targets
from fgq_bench.models.training.recipe import Phase, knobs_at, total_steps, truncate
from fgq_bench.models.training.tiny_models import PI3_RECIPE, TINY_MODELS, VGGT_RECIPE
from fgq_bench.models.training.trainer import Trainer, split_parameters
from fgq_bench.models.training.vggt_objective import VGGTObjective, initialise_dense_heads, pose_loss
from fgq_bench.models.vggt import VGGT

SHORT = (
    Phase(3, 2, 2, rate=(1e-4, 1e-3), studio=(1, 0.5)),
    Phase(3, 2, 2, rate=(1e-3, 1e-3), studio=(0.5, 0), rooms=(0.5, 0.5)),
)


pytestmark = pytest.mark.usefixtures("eager")


def from_micro_vggt(model: Pi3) -> None:
    inherit(model, VGGT(replace(MICRO, depth=2, dpt_levels=(0, 0, 1, 1))))


MICRO_TRAININGS = {
    "vggt": Training(MICRO, initialise_dense_heads, VGGTObjective, SHORT),
    "pi3": Training(MICRO_PI3, from_micro_vggt, Pi3Objective, SHORT),
}
FAMILIES = pytest.mark.parametrize("family", sorted(MICRO_TRAININGS))


def make(family: str, folder: Path, recipe: tuple[Phase, ...] = SHORT) -> Trainer:
    return Trainer(replace(MICRO_TRAININGS[family], recipe=recipe), 0, torch.device("cpu"), folder)


def test_knobs_ramp_linearly() -> None:
    assert knobs_at(SHORT, 0).rate == 1e-4
    assert knobs_at(SHORT, 1).studio == 0.75
    assert knobs_at(SHORT, 5).studio == 0
    with pytest.raises(IndexError):
        knobs_at(SHORT, 6)


def test_truncated_recipe_takes_the_same_steps() -> None:
    for steps in (1, 2, 3, 5, total_steps(VGGT_RECIPE) - 7):
        recipe = SHORT if steps <= 6 else VGGT_RECIPE
        short = truncate(recipe, steps)
        assert total_steps(short) == steps
        for step in {0, steps // 2, steps - 1}:
            ours, theirs = knobs_at(short, step), knobs_at(recipe, step)
            assert ours.rate == pytest.approx(theirs.rate)
            assert ours.studio == pytest.approx(theirs.studio)


@pytest.mark.parametrize("recipe", [VGGT_RECIPE, PI3_RECIPE], ids=["vggt", "pi3"])
def test_recipe_ends_in_fully_random_surroundings(recipe: tuple[Phase, ...]) -> None:
    last = knobs_at(recipe, total_steps(recipe) - 1)
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


@FAMILIES
def test_resumed_run_equals_an_uninterrupted_one(family: str, tmp_path: Path) -> None:
    whole = make(family, tmp_path / "whole")
    whole_rows = [whole.train_step() for _ in range(4)]
    first = make(family, tmp_path / "parts")
    for _ in range(2):
        first.train_step()
    first.save()
    second = make(family, tmp_path / "parts")
    assert second.resume()
    rows = [second.train_step() for _ in range(2)]
    assert rows == whole_rows[2:]
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_run_writes_curves_and_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgq_bench.models.training.trainer.SAVES", 2)
    trainer = make("vggt", tmp_path)
    model = trainer.run(lambda candidate: {"score": 1.0})
    assert trainer.step == 6
    assert model is trainer.average
    assert (tmp_path / "scores.jsonl").read_text().count('"score": 1.0') == 2
    assert not make("vggt", tmp_path / "other").resume()


def test_scenes_drawn_ahead_in_other_processes_are_the_same() -> None:
    here, ahead = (list(draw_ahead(SHORT, 0, 2, workers)) for workers in (0, 1))
    assert len(here) == 4
    for a, b in zip(here, ahead, strict=True):
        assert np.array_equal(a.extrinsics, b.extrinsics) and np.array_equal(a.palette, b.palette)


def test_lengths_of_sequences_take_turns() -> None:
    recipe = (Phase(5, (2, 3), 2, rate=(1e-3, 1e-3)),)
    assert [knobs_at(recipe, step).frames for step in range(5)] == [2, 3, 2, 3, 2]
    assert [scenes.extrinsics.shape[1] for scenes in draw_ahead(recipe, 0, 0, 0)] == [2, 3, 2, 3, 2]


@pytest.mark.parametrize(("family", "loss"), [("vggt", "patch"), ("pi3", "relative")])
def test_one_batch_can_be_learned(family: str, loss: str, tmp_path: Path) -> None:
    """Twenty steps on the same scenes cut the loss by a third at least: gradients flow through every part."""
    trainer = make(family, tmp_path, (Phase(40, 2, 2, rate=(2e-3, 2e-3), studio=(1, 1)),))
    losses = []
    for _ in range(20):
        losses.append(trainer.train_step()[loss])
        trainer.step = 0
    assert losses[-1] < 0.67 * losses[0]


def test_muon_gets_the_matrices_of_blocks_only() -> None:
    blocks = {"vggt-tiny": 4 + 4 + 2 + 1, "pi3-tiny": 8 + 2 + 3 * 2}
    for name, training in TINY_MODELS.items():
        matrices, others = split_parameters(training.config.build())
        assert len(matrices) == 4 * blocks[name.removesuffix(".v2")]
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


def test_pi3_starts_with_the_trunk_of_vggt() -> None:
    """With the tokens of frames that are no reference, every stage up to the heads computes what VGGT's does."""
    torch.manual_seed(0)
    parent, model = VGGT(replace(MICRO, depth=2, dpt_levels=(0, 0, 1, 1))).eval(), Pi3(MICRO_PI3).eval()
    with torch.no_grad():
        for token in (parent.aggregator.camera_token, parent.aggregator.register_token):
            token[:, 1] = torch.randn_like(token[:, 1])
            token[:, 0] = token[:, 1]
        inherit(model, parent)
        images = torch.rand(2, 3, 3, 56, 56)
        ours, theirs = (each.trunk.levels(images, (1,))[1] for each in (model, parent))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)  # norms' eps are 1e-6 and 1e-5
    assert ours.std() > 0.1


def test_pi3_losses_do_not_see_world_or_scale() -> None:
    batch = make_batch(draw_batch(0, knobs_at(SHORT, 0), 0), 56, torch.device("cpu"))
    target, extrinsics = local_targets(batch)
    torch.testing.assert_close(target[..., 2], batch.depth)
    torch.testing.assert_close(best_scale(3 * target, target), torch.full((2,), 1 / 3))
    moved = compose_rigid(extrinsics, invert_rigid(extrinsics[:, 1:]).expand_as(extrinsics))
    moved[..., 3] *= 3
    floor = relative_loss(extrinsics, extrinsics)
    torch.testing.assert_close(relative_loss(moved, extrinsics), floor, atol=1e-3, rtol=0)
    wrong = extrinsics.flip(1)
    assert relative_loss(wrong, extrinsics) > floor + 0.1


def test_confidence_teaches_its_own_decoder_only(tmp_path: Path) -> None:
    trainer = make("pi3", tmp_path)
    assert isinstance(trainer.model, Pi3)
    batch = make_batch(draw_batch(0, knobs_at(SHORT, 0), 0), 56, torch.device("cpu"))
    trainer.objective(trainer.model, batch, torch.tensor([0]))["confidence"].backward()
    taught = {name.partition(".")[0] for name, each in trainer.model.named_parameters() if each.grad is not None}
    assert taught == {"conf_decoder", "conf_head"}
