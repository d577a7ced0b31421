"""Fake quantization for training: rows rounded to the grid and back, differentiable in the rows and in their clipping.

The values are those of ``grid``; symmetric grids get a closed-form gradient, several times cheaper than autograd's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgq_bench.quant.grid import MAX_FLOOR, Bits, Clip, code_range, dequantize, limits, quantize_rows


class _Symmetric(torch.autograd.Function):
    """y = scale * clamp(round(x / scale)), scale = max|clipped range| / highest code; straight-through rounding."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, clip_low: Tensor, clip_high: Tensor, lowest: Tensor, highest: Tensor, clamp: bool
    ) -> Tensor:
        least, most = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
        low, high = least.clamp(max=0) * clip_low, most.clamp(min=0) * clip_high
        ctx.save_for_backward(x, least, most, clip_low, clip_high, lowest, highest)
        ctx.clamp = clamp
        scale = torch.maximum(-low, high).clamp(min=MAX_FLOOR) / highest
        inside = x.clamp(low, high) if clamp else x
        return (inside / scale).round().clamp(lowest, highest) * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, least, most, clip_low, clip_high, lowest, highest = ctx.saved_tensors
        negative, positive = least.clamp(max=0), most.clamp(min=0)
        low, high = negative * clip_low, positive * clip_high
        widest = torch.maximum(-low, high)
        scale = widest.clamp(min=MAX_FLOOR) / highest
        steps = (x.clamp(low, high) if ctx.clamp else x) / scale
        codes = steps.round()
        passes = (codes >= lowest) & (codes <= highest)
        codes = codes.clamp(lowest, highest)
        through = torch.where(passes, gradient, 0)
        to_range = (gradient * codes - through * steps).sum(-1, keepdim=True) / highest * (widest > MAX_FLOOR)
        to_low = torch.where(-low > high, -to_range, 0)
        to_high = torch.where(-low > high, 0, to_range)
        if ctx.clamp:
            to_low = to_low + torch.where(x < low, through, 0).sum(-1, keepdim=True)
            to_high = to_high + torch.where(x > high, through, 0).sum(-1, keepdim=True)
            through = torch.where((x >= low) & (x <= high), through, 0)
        to_x = through + torch.where(x == least, to_low * clip_low * (least < 0), 0)
        to_x = to_x + torch.where(x == most, to_high * clip_high * (most > 0), 0)
        return (
            to_x, (to_low * negative).sum_to_size(clip_low.shape), (to_high * positive).sum_to_size(clip_high.shape),
            None, None, None,
        )  # fmt: skip


def fake_quantize(x: Tensor, bits: Bits, asymmetric: bool, clip: Clip, clamp: bool) -> Tensor:
    """Rows ``x`` [..., n] rounded to the grid of their range scaled by ``clip``, as real values in fp32.

    Args:
        clip: factors on each row's minimum and maximum, broadcastable to [..., 1].
        clamp: limit the rows themselves to that range first (weights), not only the scale (inputs).
    """
    x = x.float()
    if not asymmetric:
        lowest, highest = (torch.as_tensor(code, dtype=torch.float32, device=x.device) for code in code_range(bits))
        out: Tensor = _Symmetric.apply(x, *clip, lowest, highest, clamp)  # type: ignore[no-untyped-call]
        return out
    if clamp:
        return dequantize(*quantize_rows(x.clamp(*limits(x, clip)), bits, asymmetric))
    return dequantize(*quantize_rows(x, bits, asymmetric, clip))
