"""What the hardware allows: measured peaks, and which share of them a kernel reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from fgq_bench.kernels.kernel import IntegerKernel, Kernel
from fgq_bench.latency.clocks import Call
from fgq_bench.latency.timing import Budget, kernel_names, measure
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme

SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices
COPIED = {"cpu": 256 * 2**20, "cuda": 2**30}  # bytes, far beyond every cache


@dataclass(frozen=True)
class Peaks:
    """Best rates seen; None where the device cannot do it."""

    bf16_flops: float | None  # per second, a multiply-add is two
    int8_ops: float | None  # per second, likewise
    bandwidth: float | None  # bytes per second, read plus written
    kernels: dict[str, str] = field(default_factory=dict)  # what ran longest in the best call of each


def _candidates(device: torch.device, kernels: Sequence[type[Kernel]]) -> dict[str, dict[str, tuple[float, Call]]]:
    """By peak: calls with the work of each. The library's int8 product alone is no peak: on an H200 PyTorch takes one
    of an older generation for it, slower than bf16.
    """
    side, size = SIDE[device.type], COPIED[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    a8, b8 = (torch.randint(-127, 128, (side, side), device=device, dtype=torch.int8) for _ in range(2))
    source, target = (torch.ones(size // 4, device=device, dtype=torch.float32) for _ in range(2))
    products, moved = 2.0 * side**3, 2.0 * size
    int8: dict[str, tuple[float, Call]] = {"torch._int_mm": (products, lambda: torch._int_mm(a8, b8.t()))}
    linear = QuantLinear.from_float(b.float(), None, Scheme.parse("w8a8"))
    for kernel in kernels:
        if issubclass(kernel, IntegerKernel) and kernel.refusal(linear) is None:
            made = kernel(linear)
            int8[kernel.name] = (products, partial(made.multiply, made.quantize(a, torch.bfloat16)))
    return {
        "bf16": {"torch.matmul": (products, lambda: torch.matmul(a, b.t()))},
        "int8": int8,
        "bandwidth": {
            "copy": (moved, lambda: target.copy_(source)),
            "negation": (moved, lambda: torch.neg(source, out=target)),
        },
    }


def peaks(device: torch.device, seconds: float, kernels: Sequence[type[Kernel]] = ()) -> Peaks:
    """Measure the peaks within about ``seconds``, at least three calls each; takes 4 GiB on CUDA, 0.7 GiB on CPU.

    Random data, as zeros run up to 13 % faster; the right operand is column-major, as weights [out, in] are. The int8
    peak is the best of PyTorch's product and of ``kernels``.
    """
    candidates = _candidates(device, kernels)
    calls = {f"{peak} {name}": call for peak, found in candidates.items() for name, (_, call) in found.items()}
    times = measure(calls, device, Budget(min_rounds=3, max_rounds=50, seconds=seconds))
    best: dict[str, float | None] = {}
    names: dict[str, str] = {}
    for peak, found in candidates.items():
        rates = {
            name: work / min(samples.seconds)
            for name, (work, _) in found.items()
            if (samples := times[f"{peak} {name}"]).seconds
        }
        winner = max(rates, key=lambda name: rates[name], default=None)
        best[peak] = None if winner is None else rates[winner]
        if winner is not None:
            names[peak] = next(iter(kernel_names(found[winner][1], device)), winner)
    return Peaks(best["bf16"], best["int8"], best["bandwidth"], names)


def share(
    flops: float,
    traffic: float,  # bytes read and written
    seconds: float,
    peak: float,  # operations per second of the arithmetic that was used
    bandwidth: float,  # bytes per second
) -> float:
    """Achieved over attainable rate, 0-1: attainable is min(peak, bandwidth * flops / traffic).

    Computed as least possible time over time, which is the same and also right where ``flops`` is 0. Above 1 the
    traffic was partly served by caches, or the peak was measured too low.
    """
    return max(flops / peak, traffic / bandwidth) / seconds
