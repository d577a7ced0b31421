"""Speed as ratios inside one run (``make bench``): never an absolute time, never part of ``make test``.

Each benchmark measures the fast path; its ``extra_info`` holds the slow one and the ratio, and the ratio is asserted
with a wide margin.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from plain_flatquant import plain_twin
from pytest_benchmark.fixture import BenchmarkFixture

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.calibration.stream import Stage, stream
from fgq_bench.kernels.reference import execute
from fgq_bench.loaders.procedural_scene import Family, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import render
from fgq_bench.models.checkpoints import model_hash
from fgq_bench.models.layers import Block
from fgq_bench.models.vggt import VGGT
from fgq_bench.probing import probe
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quantizers.flatness import initial_parameters, quantized_block
from fgq_bench.quantizers.learned_linear import Grids
from fgq_bench.quantizers.reconstruction import Schedule, reconstruct
from fgq_bench.sensitivity import quantized_stage
from fgq_bench.task_losses import total_loss


def median_seconds(function: Callable[[], object], repeats: int = 5) -> float:
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return sorted(times)[repeats // 2]


def compare(
    benchmark: BenchmarkFixture, function: Callable[[], object], other: Callable[[], object], label: str
) -> float:
    """Benchmark ``function``; returns how many times faster it is than ``other``."""
    function()
    seconds = median_seconds(other)
    benchmark.pedantic(function, rounds=5)  # type: ignore[no-untyped-call]
    assert benchmark.stats is not None
    ratio = float(seconds / benchmark.stats.stats.median)
    benchmark.extra_info.update({"against": label, "against_seconds": seconds, "ratio": ratio})
    return ratio


def test_compiled_rendering_against_eager(benchmark: BenchmarkFixture) -> None:
    scenes = stack_scenes([draw_scene(Family.OBJECTS, Split.TEST, index, 4) for index in range(32)])
    ratio = compare(
        benchmark,
        lambda: render(scenes, 84, torch.float32, compile=True),
        lambda: render(scenes, 84, torch.float32, compile=False),
        "eager rendering",
    )
    assert ratio > 1.5


@torch.inference_mode()
def test_tiny_forward_against_training_size_batches(benchmark: BenchmarkFixture, tiny: VGGT) -> None:
    """One sequence at a time (as the runner predicts) against the same eight in a batch: what that choice costs."""
    images = torch.rand(8, 4, 3, 84, 84)
    ratio = compare(benchmark, lambda: [tiny(image[None]) for image in images], lambda: tiny(images), "batched forward")
    assert ratio > 0.3


def test_rtn_quantize_against_forward(benchmark: BenchmarkFixture, tiny: VGGT) -> None:
    images = torch.rand(1, 4, 3, 84, 84)
    ratio = compare(benchmark, lambda: api.quantize(tiny, "rtn", "w4a4"), lambda: tiny(images), "one forward pass")
    assert ratio > 0.02


@pytest.mark.parametrize("scheme", ["w8a8", "w4a4", "w4a16g64"])
@torch.inference_mode()
def test_reference_against_float_linear(benchmark: BenchmarkFixture, scheme: str) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(656, 768), torch.randn(192, 768), torch.randn(192)
    linear = QuantLinear.from_float(weight, bias, Scheme.parse(scheme))
    ratio = compare(benchmark, lambda: execute(x, linear), lambda: F.linear(x, weight, bias), "fp32 F.linear")
    assert ratio > 0.005


def reconstruction_stage(tiny: VGGT) -> Stage:
    """The second frame block of vggt-tiny with the inputs of the whole calibration manifest."""
    clips = CalibrationClips(load_manifest("procedural-64x4"), {})
    return next(stage for stage in stream(tiny, clips, "float32") if stage.name == "aggregator.frame_blocks.1")


def test_block_reconstruction_against_a_plain_eager_one(benchmark: BenchmarkFixture, tiny: VGGT) -> None:
    """One epoch (32 steps of 2 clips) of FlatQuant at w4a4, from the same start: same loss in less time.

    ``first_seconds`` is the first epoch ever, with compilation; the compiled code serves every block and scheme.
    """
    stage, scheme = reconstruction_stage(tiny), Scheme.parse("w4a4")
    block = stage.module
    assert isinstance(block, Block) and stage.rotary is not None
    widths = {"qkv": 192, "fc1": 192, "fc2": 768}
    begin = initial_parameters(block, {n: torch.ones(w) for n, w in widths.items()}, scheme, torch.Generator().manual_seed(0))  # fmt: skip
    grids, schedule = Grids.of(scheme, torch.device("cpu")), Schedule(1, 2, 5e-3, 5e-3, 5e-3, 0)
    losses: dict[str, float] = {}

    def ours() -> None:
        parameters = {name: value.clone() for name, value in begin.items()}
        forward = partial(quantized_block, block)
        history = reconstruct(lambda p, x, r: forward(p, grids, x, r), parameters, set(), stage, torch.ones(1, 192), schedule)  # fmt: skip
        losses["ours"] = history[0]

    def plain() -> None:
        twin = plain_twin(block, begin, 4)
        optimizer = torch.optim.AdamW([p for p in twin.parameters() if p.requires_grad], lr=5e-3)
        total = 0.0
        for index in range(0, 64, 2):
            x, y = (torch.cat(each[index : index + 2]) for each in (stage.inputs, stage.outputs))
            loss = (twin(x, stage.rotary) - y).square().mean()
            optimizer.zero_grad()
            (loss / loss.detach()).backward()
            optimizer.step()
            total += loss.item() / 32
        losses["plain"] = total

    began = time.perf_counter()
    ours()
    benchmark.extra_info["first_seconds"] = time.perf_counter() - began
    ratio = compare(benchmark, ours, plain, "plain eager FlatQuant block")
    benchmark.extra_info["losses"] = losses
    assert losses["ours"] == pytest.approx(losses["plain"], rel=0.03)
    assert ratio > 2


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_search_methods_against_the_calibration_pass(
    benchmark: BenchmarkFixture, tiny: VGGT, tmp_path: Path, method: str
) -> None:
    """What a method costs once the shared statistics are there, beside the pass that captures them."""
    clips = CalibrationClips(load_manifest("procedural-64x4"), {})
    list(clips)  # rendered before
    targets = target_linears(tiny, "aa")
    Calibration(tiny, model_hash(tiny), clips, "float32", tmp_path).capture(targets)
    ratio = compare(
        benchmark,
        lambda: api.quantize(tiny, method, "w4a16g64", folder=tmp_path),
        lambda: Calibration(tiny, model_hash(tiny), clips, "float32", None).capture(targets),
        "one capture of all statistics",
    )
    assert ratio > 0.2


@pytest.mark.parametrize("name", ["aggregator.frame_blocks.0", "aggregator.frame_blocks.3"])
def test_one_candidate_of_the_task_aware_search(benchmark: BenchmarkFixture, tiny: VGGT, name: str) -> None:
    """From cached inputs of the block, dense heads compiled, against the whole eager network: an early and a late
    block, eight clips.
    """
    data = Calibration(tiny, "hash", CalibrationClips(load_manifest("procedural-64x4"), {}), "float32", None)
    stage = next(each for each in probe(data, 8) if each.name == name)
    linear = stage.module.get_submodule("mlp.fc1")
    assert isinstance(linear, torch.nn.Linear)
    rounded = {f"{name}.mlp.fc1": QuantLinear.from_float(linear.weight, linear.bias, Scheme.parse("w4a16g64"))}
    weights = {"camera": 1.0, "depth": 0.1, "points": 0.1, "geometry": 1.0}
    images = torch.stack([clip for clip, _ in zip(data.clips, range(8), strict=False)])
    whole = QuantizedModel(rounded, {}).install(tiny, execute)

    @torch.no_grad()
    def plain() -> float:
        return total_loss(whole(images), stage.labels[0], weights).item()

    ratio = compare(
        benchmark, lambda: stage.loss(quantized_stage(stage, rounded), weights), plain, "whole eager network"
    )
    assert stage.loss(quantized_stage(stage, rounded), weights) == pytest.approx(plain(), rel=1e-3)
    assert ratio > (1.05 if name.endswith("0") else 1.5)
