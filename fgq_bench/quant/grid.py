"""The integer grid: scales, zero points, codes (spec: baselines, "Grid and the arithmetic of truth").

All functions reduce over the last dimension: one scale per row. fp32 in, fp32 scales out, round half to even. They are
differentiable (straight-through rounding), and ``bits`` may be a code range of tensors, so that training and rounding
are one code and one compiled graph serves every bit-width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MAX_FLOOR = 1e-5  # smallest range that a row is given
Bits = int | tuple[Tensor, Tensor]  # a bit-width, or its lowest and highest code
Clip = tuple[Tensor, Tensor]  # factors on a row's minimum and maximum, each broadcastable to [..., 1]


class _RoundStraightThrough(torch.autograd.Function):
    """Round half to even; the gradient passes unchanged (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        return gradient[0]


def round_straight_through(x: Tensor) -> Tensor:
    """``x`` rounded half to even, with the gradient of the identity."""
    if not x.requires_grad:
        return x.round()
    rounded: Tensor = _RoundStraightThrough.apply(x)  # type: ignore[no-untyped-call]
    return rounded


def code_range(bits: Bits) -> tuple[Any, Any]:
    """Lowest and highest signed code: -2^(b-1) and 2^(b-1) - 1; a range is returned as it is."""
    return bits if isinstance(bits, tuple) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def code_tensors(bits: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """``code_range`` as tensors [], for compiled code."""
    lowest, highest = code_range(bits)
    return torch.tensor(float(lowest), device=device), torch.tensor(float(highest), device=device)


def exact_divisor(x: Tensor, number: float | Tensor) -> Tensor:
    """``number`` as a tensor [] beside ``x``, so that ``x`` / it is rounded as IEEE 754 says on every device.

    By a Python number CUDA multiplies with the reciprocal: the last bit of 54 % of quotients by 7 differs (H200). It is
    made by a fill on the device, which a CUDA graph can capture; a copy from the host it could not.
    """
    return number if isinstance(number, Tensor) else torch.full((), float(number), device=x.device)


def limits(x: Tensor, clip: Clip | None) -> tuple[Tensor, Tensor]:
    """Lower and upper end [..., 1] of the range of rows ``x`` [..., n]: it includes 0, scaled by ``clip``."""
    low = x.amin(-1, keepdim=True).float().clamp(max=0)
    high = x.amax(-1, keepdim=True).float().clamp(min=0)
    return (low, high) if clip is None else (low * clip[0], high * clip[1])


def symmetric_scale(x: Tensor, bits: Bits, clip: Clip | None = None) -> Tensor:
    """Scales [..., 1] of rows ``x`` [..., n]: max|range| / (2^(b-1) - 1), the maximum floored at 1e-5."""
    if clip is None:
        maximum = x.abs().amax(-1, keepdim=True).float()
    else:
        low, high = limits(x, clip)
        maximum = torch.maximum(-low, high)
    scale: Tensor = maximum.clamp(min=MAX_FLOOR) / exact_divisor(maximum, code_range(bits)[1])
    return scale


def affine_scale(x: Tensor, bits: Bits, clip: Clip | None = None) -> tuple[Tensor, Tensor]:
    """Min/max scales and zero points [..., 1] of rows ``x`` [..., n]; the range always includes 0."""
    low, high = limits(x, clip)
    lowest, highest = code_range(bits)
    scale: Tensor = (high - low).clamp(min=MAX_FLOOR) / exact_divisor(low, highest - lowest)
    return scale, round_straight_through(lowest - low / scale).clamp(lowest, highest)


def to_codes(x: Tensor, scale: Tensor, zero: Tensor | None, bits: Bits) -> Tensor:
    """Signed integer codes of ``x``, kept in floating point: clamp(round_half_even(x / scale) + zero)."""
    rounded = round_straight_through(x.float() / scale)
    if zero is not None:
        rounded = rounded + zero
    return rounded.clamp(*code_range(bits))


def quantize_rows(
    x: Tensor, bits: Bits, asymmetric: bool, clip: Clip | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes like ``x`` (floating point), scales [..., 1], zero points [..., 1] (None when symmetric)."""
    zero: Tensor | None = None
    if asymmetric:
        scale, zero = affine_scale(x, bits, clip)
    else:
        scale = symmetric_scale(x, bits, clip)
    return to_codes(x, scale, zero, bits), scale, zero


def quantize_weight(
    weight: Tensor, bits: Bits, groups: int, asymmetric: bool, clip: Clip | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Round ``weight`` [out, in] to nearest, a scale per output channel and group.

    Args:
        clip: factors on each group's minimum and maximum, broadcastable to [out, groups, 1]; the weight is clamped
            to that range first (learned or searched clipping).

    Returns:
        Codes [out, groups, in / groups], scales [out, groups, 1], zero points like the scales or None.
    """
    rows = weight.unflatten(1, (groups, -1))
    if clip is not None:
        low, high = limits(rows, clip)
        rows = rows.float().clamp(low, high)
    return quantize_rows(rows, bits, asymmetric)


def quantize_input(
    x: Tensor, bits: Bits, asymmetric: bool, per_tensor: bool, clip: Clip | None = None
) -> tuple[Tensor, Tensor]:
    """Centred codes like ``x`` [..., n] (floating point) and scales [..., 1] (per tensor: one), dynamically."""
    rows = x.reshape(1, -1) if per_tensor else x
    codes, scale, zero = quantize_rows(rows, bits, asymmetric, clip)
    codes = codes if zero is None else codes - zero
    return codes.view_as(x), scale.reshape(()) if per_tensor else scale


def dequantize(codes: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Real values (codes - zero) * scale in fp32."""
    centred = codes.float() if zero is None else codes.float() - zero.float()
    return centred * scale


def exact_in_float32(weight_bits: int, activation_bits: int, width: int) -> bool:
    """Whether every partial sum of ``width`` code products stays below 2^24, so that fp32 adds them exactly.

    Codes reach 2^(b-1) in magnitude, centred (asymmetric) ones 2^b - 1; the larger bound is used.
    """
    bound: int = (2**weight_bits - 1) * (2**activation_bits - 1) * width
    return bound < 2**24


def product(activation: Tensor, weight: Tensor, exact32: bool) -> Tensor:
    """``activation`` [..., k] @ ``weight`` [n, k] transposed, exact for integer values; fp32 out."""
    dtype = torch.float32 if exact32 else torch.float64
    return torch.nn.functional.linear(activation.to(dtype), weight.to(dtype)).float()
