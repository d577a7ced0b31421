"""Speed as ratios inside one run (``make bench``): never an absolute time, never part of ``make test``.

Each benchmark measures the fast path; its ``extra_info`` holds the slow one and the ratio, and the ratio is asserted
with a wide margin.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from fgq_bench import api
from fgq_bench.kernels.reference import execute
from fgq_bench.loaders.procedural_scene import Family, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import render
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme


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
    assert ratio > 2


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
