"""What the hardware allows: measured peaks, and which share of them a kernel reaches."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fgq_bench.latency.timing import Budget, Samples, measure

SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices
COPIED = {"cpu": 256 * 2**20, "cuda": 2**30}  # bytes, far beyond every cache


@dataclass(frozen=True)
class Peaks:
    """Best rates seen; None where the device cannot do it."""

    bf16_flops: float | None  # per second, a multiply-add is two
    int8_ops: float | None  # per second, likewise
    bandwidth: float | None  # bytes per second, read plus written


def _best(work: float, samples: Samples) -> float | None:
    """Work per second in the fastest call."""
    return work / min(samples.seconds) if samples.seconds else None


def peaks(device: torch.device, seconds: float) -> Peaks:
    """Measure the peaks within about ``seconds``, at least three calls each; takes 2.5 GiB on CUDA, 0.6 GiB on CPU.

    Random data, as zeros run up to 13 % faster; the right operand is column-major, as weights [out, in] are.
    """
    side, size = SIDE[device.type], COPIED[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    a8, b8 = (torch.randint(-127, 128, (side, side), device=device, dtype=torch.int8) for _ in range(2))
    source, target = (torch.ones(size, device=device, dtype=torch.uint8) for _ in range(2))
    variants = {
        "bf16": lambda: torch.matmul(a, b.t()),
        "int8": lambda: torch._int_mm(a8, b8.t()),
        "copy": lambda: target.copy_(source),
    }
    times = measure(variants, device, Budget(min_rounds=3, max_rounds=50, seconds=seconds))
    work = 2.0 * side**3
    return Peaks(_best(work, times["bf16"]), _best(work, times["int8"]), _best(2.0 * size, times["copy"]))


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
