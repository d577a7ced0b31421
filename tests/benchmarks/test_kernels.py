"""Speed of the CPU kernels against bf16 F.linear, interleaved in one run; goals of the project as floors.

FLOP-weighted over the linears of a VGGT-1B block at one 518 x 518 frame (1374 tokens), quantiser and epilogue included.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from fgq_bench.kernels.placement import install
from fgq_bench.kernels.registry import find_backend
from fgq_bench.latency.allocator import keep_freed_memory
from fgq_bench.latency.cases import layer_cases
from fgq_bench.latency.timing import Budget, measure
from fgq_bench.latency.variants import BASELINE, Variant
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.hadamard import hadamard_transform
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(), reason="no VNNI: this processor has no fast 8-bit product"
)


def called(variant: Variant) -> Callable[[], object]:
    assert variant.call is not None, "no kernel takes it"
    return variant.call


def interleaved(benchmark: BenchmarkFixture, parts: list[dict[str, Variant]], name: str, over: str) -> float:
    """Time of ``over`` by time of ``name``, summed over ``parts``."""
    keep_freed_memory()
    totals = {name: 0.0, over: 0.0}
    for variants in parts:
        calls = {each: called(variants[each]) for each in totals}
        for each, samples in measure(calls, CPU, Budget(min_rounds=10, seconds=1.0)).items():
            totals[each] += samples.median
    benchmark.pedantic(called(parts[0][name]), rounds=3)  # type: ignore[no-untyped-call]
    ratio = totals[over] / totals[name]
    benchmark.extra_info.update({"against": over, "against_seconds": totals[over], "ratio": ratio})
    return ratio


@pytest.mark.parametrize(("scheme", "tokens", "floor"), [("w4a4", 1374, 1.5), ("w8a8", 1374, 1.5), ("w4a16", 1, 1.2)])
@torch.inference_mode()
def test_linears_of_a_block_against_bf16(benchmark: BenchmarkFixture, scheme: str, tokens: int, floor: float) -> None:
    cases = layer_cases(1024, [tokens], [Scheme.parse(scheme)], find_backend("cpu"), CPU)
    assert interleaved(benchmark, [case.build() for case in cases], scheme, BASELINE) > floor


@torch.inference_mode()
def test_int8_product_against_the_library(benchmark: BenchmarkFixture) -> None:
    """Sums only, weights packed once, beside torch._int_mm, which packs them in every call."""
    cases = layer_cases(1024, [1374], [Scheme.parse("w8a8")], find_backend("cpu"), CPU)
    assert interleaved(benchmark, [case.build() for case in cases], "w8a8 sums only", "torch._int_mm") > 0.8


@torch.inference_mode()
def test_online_hadamard_against_one_dense_product(benchmark: BenchmarkFixture) -> None:
    x = torch.randn(1374, 1024)
    dense = hadamard_transform(torch.eye(1024))
    parts = {"fast": Variant(lambda: hadamard_transform(x)), "dense": Variant(lambda: x @ dense)}
    assert interleaved(benchmark, [parts], "fast", "dense") > 2


@torch.inference_mode()
def test_whole_network_on_the_cpu_backend_against_the_reference(benchmark: BenchmarkFixture, tiny: VGGT) -> None:
    linears = {}
    for name in target_linears(tiny, "aa"):
        linear = tiny.get_submodule(name)
        assert isinstance(linear, torch.nn.Linear)
        linears[name] = QuantLinear.from_float(linear.weight, linear.bias, Scheme.parse("w4a4"), name)
    quantized, images = QuantizedModel(linears, {}), torch.rand(1, 4, 3, 84, 84)
    models = {name: install(quantized, tiny, find_backend(name))[0] for name in ("cpu", "reference")}
    parts = {name: Variant(lambda model=model: model(images)) for name, model in models.items()}  # type: ignore[misc]
    assert interleaved(benchmark, [parts], "cpu", "reference") > 0.9
