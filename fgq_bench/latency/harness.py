"""Time cases and keep them: one result per case with every variant's raw samples, memory and place of time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from fgq_bench.kernels.kernel import IntegerKernel, Kernel
from fgq_bench.kernels.placement import SplitKernel
from fgq_bench.latency.breakdown import annotate_modules, annotated, breakdown
from fgq_bench.latency.cases import Case
from fgq_bench.latency.clocks import describe
from fgq_bench.latency.memory import peak_memory, resident_by_component
from fgq_bench.latency.roofline import Peaks, share
from fgq_bench.latency.timing import Budget, Samples, kernel_names, measure, ratio
from fgq_bench.latency.variants import Variant
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.layers import Attention
from fgq_bench.numerics import timed_on
from fgq_bench.quant.linear import QuantLinear, SplitLinear
from fgq_bench.results import Result, content_key

ALGORITHM = 1  # raised when a stored number would come out differently for another reason than the machine
SLOW = 1.0  # seconds of a call from which on one pass is enough to see where time goes
PARTS = {
    Attention: "attention", nn.Linear: "linears", QuantLinear: "linears", SplitLinear: "linears", Kernel: "linears",
    SplitKernel: "linears",
}  # fmt: skip


def empty_result(case: Case, model: dict[str, str], variants: dict[str, Any], device: torch.device) -> Result:
    """The result that ``case`` will have: its key is that of machine, sizes and variants.

    ``variants`` identifies what is compared: method, scheme, scope and backend of each.
    """
    conditions = {
        "model": model, "device": timed_on(device, torch.get_num_threads()), "subject": case.subject, "case": case.name, **case.about,
        "variants": variants, "algorithm": ALGORITHM, "torch": torch.__version__,
    }  # fmt: skip
    return Result("latency", content_key(conditions), conditions, "ok")


@torch.inference_mode()
def run_case(case: Case, empty: Result, device: torch.device, budget: Budget, peaks: Peaks) -> Result:
    """Build, time and examine the variants of ``case``; one that fails has its error in place of a value."""
    torch.compiler.reset()  # the limit on recompilations is per function, and every case brings its own sizes
    variants = case.build()
    calls = {name: variant.call for name, variant in variants.items() if variant.call is not None}
    times = measure(calls, device, budget)
    replayed = measure(calls, device, budget, graphs=True) if device.type == "cuda" else times
    metrics = {}
    for name, variant in variants.items():
        if variant.call is None:
            metrics[name] = variant.about
            continue
        entry = _timed(replayed, name, variant.baseline)
        if device.type == "cuda":
            entry["eager"] = _timed(times, name, variant.baseline)
        if "error" not in entry:
            try:
                entry |= _examined(case, variant, replayed[name].median, device, peaks)
            except Exception as error:  # the samples stand; what examining them lacked is said
                entry["not_examined"] = describe(error)
        metrics[name] = {**entry, **variant.about}
    failed = all("error" in entry for entry in metrics.values())
    about_peaks = {
        "bf16_flops": peaks.bf16_flops,
        "int8_ops": peaks.int8_ops,
        "bandwidth": peaks.bandwidth,
        "kernels": peaks.kernels,
    }
    return Result(
        "latency", empty.key, empty.conditions, "failed" if failed else "ok",
        next(iter(metrics.values()))["error"] if failed else None, metrics, execution={"peaks": about_peaks},
    )  # fmt: skip


def _timed(times: dict[str, Samples], name: str, over: str) -> dict[str, Any]:
    samples, baseline = times[name], times[over]
    if samples.error is not None:
        return {"error": samples.error}
    entry: dict[str, Any] = {
        "value": samples.median, "p20": samples.p20, "p80": samples.p80, "unit": "s", "aggregation": "median of rounds",
        "samples": [round(each, 9) for each in samples.seconds],
    }  # fmt: skip
    if baseline.error is None:
        faster = ratio(baseline, samples)
        entry["speedup"] = {"value": faster.value, "ci_low": faster.low, "ci_high": faster.high, "over": over}
    return entry


def _examined(case: Case, variant: Variant, seconds: float, device: torch.device, peaks: Peaks) -> dict[str, Any]:
    assert variant.call is not None
    entry: dict[str, Any] = {}
    if not isinstance(variant.module, AlternatingModel):  # of a network they are those of its layers and blocks
        entry["operators"] = kernel_names(variant.call, device)
    peak = peaks.int8_ops if variant.integer else peaks.bf16_flops
    if case.flops and variant.traffic and peak and peaks.bandwidth:
        entry["roofline"] = share(case.flops, variant.traffic, seconds, peak, peaks.bandwidth)
    if isinstance(variant.module, AlternatingModel):
        resident = resident_by_component(variant.module, variant.module.component_of)
        entry["resident_bytes"] = resident
        if (working := _working_bytes(variant, device)) is not None:
            entry["peak_bytes"] = {name: sum(resident.values()) + value for name, value in working.items()}
            entry["working_bytes"] = working
    if variant.module is not None:
        with _labels(variant.module), torch.compiler.set_stance("force_eager"):  # compiled code shows no labels
            slow = seconds > SLOW
            entry["breakdown"] = breakdown(variant.call, device, passes=1 if slow else 3, warm=slow)
    return entry


def _working_bytes(variant: Variant, device: torch.device) -> dict[str, int] | None:
    """Peak of one call above what was held before it: weights of all variants lie in memory, one is deployed alone.

    On a GPU ``allocated`` is what tensors took, ``reserved`` what the allocator took; on a CPU resident pages are both.
    """
    assert variant.call is not None
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    memory = peak_memory(variant.call, device)
    if memory is None:
        return None
    if device.type == "cuda":
        return {"allocated": memory.allocated - held, "reserved": memory.reserved - held}
    return {"allocated": memory.allocated}


@contextmanager
def _labels(module: nn.Module) -> Iterator[None]:
    """Label time in linears, attention, heads, and in the kernels' transforms and quantisers."""
    kernels = [each for each in module.modules() if isinstance(each, Kernel)]
    for kernel in kernels:
        kernel.transformed = annotated("transforms")(kernel.transformed)  # type: ignore[method-assign]
        if isinstance(kernel, IntegerKernel):
            kernel.quantize = annotated("quantise")(kernel.quantize)  # type: ignore[method-assign]
    try:
        with annotate_modules(module, partial(_label, module.heads if isinstance(module, AlternatingModel) else ())):
            yield
    finally:
        for kernel in kernels:
            kernel.__dict__.pop("transformed")
            kernel.__dict__.pop("quantize", None)


def _label(heads: tuple[str, ...], name: str, module: nn.Module) -> str | None:
    if name in heads:
        return "heads"
    if name.partition(".")[0] in heads:
        return None  # inside a head: the head's own label holds
    return next((label for kind, label in PARTS.items() if isinstance(module, kind)), None)
