"""What a calibration pass will cost, before it is made: operations from the network itself on torch's meta device,
speed from one matrix product on the device that will do the work."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fgq_bench.calibration.stream import linears_inside
from fgq_bench.models.interface import ReconstructionModel, call_stage
from fgq_bench.models.precision import stored_dtypes
from fgq_bench.models.watching import watched_inputs

FP32 = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """An estimate; the pass itself is measured by ``fgq-bench calibrate``."""

    stages: int
    forward_flops: float  # of all clips
    statistics_flops: float  # Hessians of all targets
    seconds: float
    model_bytes: int
    stream_bytes: int  # inputs and outputs of the widest stage, for all clips
    statistics_bytes: int  # Hessians of the largest stage
    disk_bytes: int  # kept for the methods

    @property
    def peak_bytes(self) -> int:
        """Model, tokens and statistics together."""
        return self.model_bytes + self.stream_bytes + self.statistics_bytes


def speed(device: str, dtype: torch.dtype, size: int = 2048) -> float:
    """Operations per second of a square matrix product, the best of three."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


@torch.no_grad()
def estimate(
    model: ReconstructionModel, targets: list[str], clips: int, images: Tensor, device: str, compute_dtype: str
) -> Cost:
    """Cost of capturing the statistics of ``targets`` on ``clips`` clips like ``images``.

    Args:
        model: on the meta device.
        images: [1, S, 3, H, W] on the meta device.
        device, compute_dtype: where and in which precision the pass will run.
    """
    forward = statistics = 0.0
    stream = largest = disk = stages = 0
    state = model.begin(images, dense=False)
    left = set(targets)
    while left and (step := model.next_stage(state)) is not None:
        stages += 1
        linears = linears_inside(step.module, step.name, left)
        left -= set(linears)
        seen: list[tuple[int, int]] = []  # tokens and width of every input of a target

        def watch(_name: str, x: Tensor, seen: list[tuple[int, int]] = seen) -> None:
            seen.append((x.numel() // x.shape[-1], x.shape[-1]))

        with watched_inputs(linears, watch), FlopCounterMode(display=False) as counter:
            output = call_stage(step.module, step.x, step.rotary)
        state = model.advance(state, output)
        forward += counter.get_total_flops() * clips
        statistics += sum(2.0 * tokens * width**2 for tokens, width in seen) * clips
        held = step.x.numel() + (output.numel() if isinstance(output, Tensor) else 0)
        hessians = FP32 * sum(linear.in_features**2 for linear in linears.values())
        stream = max(stream, held * FP32 * clips)
        largest, disk = max(largest, hessians), disk + hessians
    rate = speed(device, torch.bfloat16 if compute_dtype == "bfloat16" else torch.float32)
    seconds = forward / rate + statistics / speed(device, torch.float32)
    dtypes = stored_dtypes(model, compute_dtype)
    weights = sum(dtypes[name].itemsize * each.numel() for name, each in model.named_parameters())
    return Cost(stages, forward, statistics, seconds, weights, stream, largest, disk)
