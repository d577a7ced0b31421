"""The learned block: its numbers against a plain implementation, torch's own Cayley map, and the controls of FGQ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_flatquant import plain_twin
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from fgq_bench import api
from fgq_bench.calibration.stream import Stage, stream
from fgq_bench.kernels.reference import execute
from fgq_bench.models.layers import Block
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job
from fgq_bench.quantizers.cayley import cayley
from fgq_bench.quantizers.export import export_block
from fgq_bench.quantizers.flatness import initial_parameters, quantized_block
from fgq_bench.quantizers.learned_linear import Grids
from fgq_bench.quantizers.reconstruction import Schedule, reconstruct

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def stage(micro: VGGT) -> Stage:
    """A global block of the random model with inputs from four clips."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(2, 3, 56, 56, generator=generator) for _ in range(4)]
    return next(s for s in stream(micro, images, "float32") if s.name == "aggregator.global_blocks.1")


def start(block: Block, scheme: str) -> dict[str, Tensor]:
    scales = {"qkv": torch.rand(48) + 0.5, "fc1": torch.rand(48) + 0.5, "fc2": torch.rand(192) + 0.5}
    return initial_parameters(block, scales, Scheme.parse(scheme), torch.Generator().manual_seed(0))


def test_cayley_is_torchs_parametrisation_and_does_not_return_its_start() -> None:
    layer = orthogonal(nn.Linear(6, 6, bias=False), orthogonal_map="cayley", use_trivialization=False)
    raw = torch.linalg.qr(torch.randn(6, 6))[0]
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(raw)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(cayley(raw), layer.weight)
    torch.testing.assert_close(cayley(raw) @ cayley(raw).T, torch.eye(6), atol=1e-5, rtol=0)
    assert not torch.allclose(cayley(raw), raw, atol=0.1)


@pytest.mark.parametrize("bits", [4, 8])
def test_block_equals_the_plain_implementation(stage: Stage, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self)  # the plain one multiplies in fp32
    block, scheme = stage.module, f"w{bits}a{bits}"
    assert isinstance(block, Block)
    parameters = start(block, scheme)
    ours = quantized_block(
        block, parameters, Grids.of(Scheme.parse(scheme), torch.device("cpu")), stage.inputs[0], stage.rotary
    )
    assert stage.rotary is not None
    plain = plain_twin(block, parameters, bits)(stage.inputs[0], stage.rotary)
    gap, loss = (ours - plain).square().mean(), (ours - stage.outputs[0]).square().mean()
    assert gap < 1e-3 * loss  # single codes flip where the order of fp32 sums differs


def test_training_follows_the_plain_implementation(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty steps of both end at the same loss."""
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self)
    block = stage.module
    assert isinstance(block, Block) and stage.rotary is not None
    parameters, grids = start(block, "w4a4"), Grids.of(Scheme.parse("w4a4"), torch.device("cpu"))
    twin = plain_twin(block, parameters, 4)
    schedule = Schedule(epochs=10, batch=2, rate=5e-3, clip_rate=5e-3, floor=5e-3, warmup=0)
    history = reconstruct(lambda p, x, r: quantized_block(block, p, grids, x, r), parameters, set(), stage, torch.ones(1, 48), schedule)  # fmt: skip
    optimizer = torch.optim.AdamW([p for p in twin.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for _ in range(10):
        for pair in ((0, 1), (2, 3)):
            x, y = (torch.cat([each[i] for i in pair]) for each in (stage.inputs, stage.outputs))
            loss = (twin(x, stage.rotary) - y).square().mean()
            optimizer.zero_grad()
            (loss / loss.detach()).backward()
            optimizer.step()
            losses.append(loss.item())
    assert history[0] == pytest.approx(sum(losses[:2]) / 2, rel=0.01)
    assert history[-1] == pytest.approx(sum(losses[-2:]) / 2, rel=0.05)
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize("exact", [True, False], ids=["fp32", "bf16"])
@pytest.mark.parametrize("scheme", ["w4a4", "w4a8g12", "w4a16", "w4a4-wasym-aasym"])
def test_exported_linears_do_what_was_trained(
    micro: VGGT, stage: Stage, scheme: str, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The artefact's block meets the trained one: same clips, same grids; fp16 transforms and bf16 products are all
    that differs, and single codes flip because of them.
    """
    if exact:
        monkeypatch.setattr(Tensor, "bfloat16", lambda self: self)
    block, parsed = stage.module, Scheme.parse(scheme)
    assert isinstance(block, Block)
    parameters = start(block, scheme)
    for name in parameters:
        if "weight_clip" in name or ("input_clip" in name and parsed.quantizes_activations):
            parameters[name] += torch.randn_like(parameters[name]) - 2  # clips that matter
        elif "input_clip" in name:
            parameters[name] = torch.full_like(parameters[name], float("inf"))
    linears, overrides = export_block(Job(micro, [], parsed, 0), stage.name, block, parameters, parsed)
    made = Job(micro, [], parsed, 0).product(linears, overrides).install(micro, execute)
    exported = made.get_submodule(stage.name)(stage.inputs[0], stage.rotary)
    grids = Grids.of(parsed, torch.device("cpu"))
    trained = quantized_block(block, parameters, grids, stage.inputs[0], stage.rotary)
    gap, loss = (exported - trained).square().mean(), (trained - stage.outputs[0]).square().mean()
    assert gap < (0.15 if exact else 0.3) * loss


def codes(model: VGGT, method: str, manifest: Path, folder: Path, **overrides: Any) -> list[Tensor]:
    made = api.quantize(model, method, "w4a4", overrides={"epochs": 1, **overrides}, calibration=str(manifest), folder=folder)  # fmt: skip
    return [linear.codes for linear in made.linears.values()]


def test_uniform_weights_are_flatquant_bit_for_bit(micro: VGGT, manifest: Path, tmp_path: Path) -> None:
    rates = {"learning_rate": 5e-3, "clip_learning_rate": 5e-2, "floor": 5e-6, "warmup": 16}
    flat = codes(micro, "flatquant", manifest, tmp_path)
    uniform = codes(micro, "fgq:uniform", manifest, tmp_path, **rates)
    guided = codes(micro, "fgq", manifest, tmp_path, probes=1, **rates)
    assert all(torch.equal(a, b) for a, b in zip(flat, uniform, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(flat, guided, strict=True))


def test_weight_decay_and_a_plain_loss_are_in_the_schedule(stage: Stage) -> None:
    """One step of AdamW on a known gradient: decay shrinks, a plain loss keeps the gradient's size (seen by eps)."""

    def forward(parameters: dict[str, Tensor], x: Tensor, rotary: object) -> Tensor:
        return stage.outputs[0] + 1e-5 * parameters["a"]

    def after(**more: Any) -> float:
        parameters = {"a": torch.full((1,), 2.0)}
        one = replace(stage, inputs=stage.inputs[:1])
        one.__dict__["outputs"] = stage.outputs[:1]
        reconstruct(forward, parameters, set(), one, torch.ones(1), Schedule(1, 1, 0.1, 0.1, 0.1, **more))
        return parameters["a"].item()

    assert after(decay=0.0) == pytest.approx(1.9, abs=1e-4)
    assert after(decay=0.5) == pytest.approx(2 * (1 - 0.05) - 0.1, abs=1e-4)
    assert after(decay=0.0, relative=False) > 1.99  # a gradient of 4e-10 vanishes in eps


def test_an_interrupted_run_goes_on_where_it_was(
    micro: VGGT, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = codes(micro, "fgq", manifest, tmp_path / "whole", probes=1)
    trained: list[str] = []

    def training(stop_after: int) -> Callable[..., list[float]]:
        def train(*arguments: Any) -> list[float]:
            if len(trained) == stop_after:
                raise KeyboardInterrupt
            trained.append(arguments[3].name)
            return reconstruct(*arguments)

        return train

    monkeypatch.setattr("fgq_bench.quantizers.block_learner.reconstruct", training(3))
    with pytest.raises(KeyboardInterrupt):
        codes(micro, "fgq", manifest, tmp_path / "cut", probes=1)
    monkeypatch.setattr("fgq_bench.quantizers.block_learner.reconstruct", training(99))
    resumed = codes(micro, "fgq", manifest, tmp_path / "cut", probes=1)
    assert len(trained) == len(set(trained)) == 8
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


@pytest.mark.parametrize("switch", ["lwc", "lac", "diagonal"])
def test_switches_turn_a_part_off(micro: VGGT, manifest: Path, switch: str) -> None:
    made = api.quantize(micro, "flatquant", "w4a4", overrides={"epochs": 1, switch: False}, calibration=str(manifest))
    linear = made.linears["aggregator.frame_blocks.0.mlp.fc2"]
    assert linear.act_clip is not None
    assert torch.equal(linear.act_clip, torch.ones(2)) == (switch == "lac")
    assert bool(linear.transforms[0].scale.eq(1).all()) == (switch == "diagonal")  # type: ignore[operator]
    top = linear.codes.amax(1)
    assert bool((torch.maximum(top, -linear.codes.amin(1)) == 7).all())


def test_schedule() -> None:
    schedule = Schedule(epochs=1, batch=1, rate=1.0, clip_rate=1.0, floor=0.1, warmup=4)
    assert schedule.factor(0, 100, 1.0) == pytest.approx(0.01)
    assert schedule.factor(2, 100, 1.0) == pytest.approx(0.505 * (0.1 + 0.9 * (1 + math.cos(math.pi * 0.02)) / 2))
    assert schedule.factor(50, 100, 1.0) == pytest.approx(0.55)
    assert schedule.factor(100, 100, 1.0) == pytest.approx(0.1)
