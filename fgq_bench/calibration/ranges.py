"""Static activation scales: the quantized model runs over the calibration clips, and every input's range is kept.

A linear gets a scale per token position within a frame, or one in all (``-atensor``). While ranges are recorded every
linear finds its own input's grid as it comes, so that no linear sees the static rounding of those before it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fgq_bench.calibration.stream import Stage, period, stream
from fgq_bench.kernels.reference import execute, multiply
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.layers import at_least_float32
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.grid import affine_scale, symmetric_scale
from fgq_bench.quant.linear import QuantLinear, quantized_linears

VERSION = 1  # raised when static scales change meaning; in the key of every result that has them


class _Recorder:
    """An executor that runs a linear dynamically and keeps the range of its transformed input at every position."""

    def __init__(self, positions: int, device: torch.device) -> None:
        self.low = torch.full((positions,), torch.inf, device=device)
        self.high = -self.low

    def __call__(self, x: Tensor, linear: QuantLinear) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            inner = linear.transformed(at_least_float32(x))
            frames = inner.float().unflatten(-2, (-1, len(self.low)))  # [batch, frames in a row, positions, in]
            self.low = torch.minimum(self.low, frames.amin((0, 1, 3)))
            self.high = torch.maximum(self.high, frames.amax((0, 1, 3)))
            return multiply(inner, linear).to(x.dtype)

    def ranges(self) -> Tensor:
        """Smallest and largest value of every position [positions, 2]."""
        return torch.stack([self.low, self.high], 1)


def _record(stage: Stage) -> dict[str, Tensor]:
    """Ranges [positions, 2] of all linears of ``stage`` that are to become static, over all its inputs, by name."""
    recorders = {}
    for name, linear in quantized_linears(stage.module, stage.name).items():
        if linear.scheme.has_static_inputs:
            positions = 1 if linear.scheme.activation_per_tensor else period(stage.token_types)
            recorders[name] = linear.executor = _Recorder(positions, stage.token_types.device)
            linear.scheme = linear.scheme.dynamic  # of the installed copy
    stage.outputs  # noqa: B018
    return {name: recorder.ranges() for name, recorder in recorders.items()}


def _set_grid(linear: QuantLinear, ranges: Tensor) -> None:
    """Store the grids of ``ranges`` [positions, 2]; the linear's clip factors go into them."""
    bits, clip, zero = linear.scheme.activation_bits, linear.input_clip, None
    ranges = ranges.to(linear.codes.device)
    if linear.scheme.activation_asymmetric:
        scale, zero = affine_scale(ranges, bits, clip)
        zero = zero[:, 0].to(torch.int8)
    else:
        scale = symmetric_scale(ranges, bits, clip)
    linear.act_scale, linear.act_zero, linear.act_clip = scale[:, 0].contiguous(), zero, None


def calibrate_inputs(
    quantized: QuantizedModel, model: ReconstructionModel, clips: Iterable[Tensor], compute_dtype: str
) -> None:
    """Give every linear of ``quantized`` whose scheme is static the scales of its input, in place.

    Args:
        model: the float model that ``quantized`` was made from.
        clips: images [S, 3, H, W] in [0, 1] each, all of one size; ``compute_dtype`` as in ``stream``.
    """
    left = {name for name, linear in quantized.linears.items() if linear.scheme.has_static_inputs}
    if not left:
        return
    for stage in stream(quantized.install(model, execute), clips, compute_dtype):
        for name, ranges in _record(stage).items():
            _set_grid(quantized.linears[name], ranges)
            left.remove(name)
        if not left:
            return
    raise AssertionError(f"no stage runs {sorted(left)[0]}")
