"""The integer grid: scales, zero points, codes (spec: baselines, "Grid and the arithmetic of truth").

All functions reduce over the last dimension: one scale per row. fp32 in, fp32 scales out, round half to even.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_FLOOR = 1e-5  # smallest range that a row is given


def code_range(bits: int) -> tuple[int, int]:
    """Lowest and highest signed code: -2^(b-1) and 2^(b-1) - 1."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def symmetric_scale(x: Tensor, bits: int, clip: Tensor | float = 1.0) -> Tensor:
    """Scales [..., 1] of rows ``x`` [..., n]: clip * max|x| / (2^(b-1) - 1), the maximum floored at 1e-5."""
    maximum = (x.abs().amax(-1, keepdim=True).float() * clip).clamp(min=MAX_FLOOR)
    return maximum / code_range(bits)[1]


def affine_scale(x: Tensor, bits: int, clip: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Min/max scales and zero points [..., 1] of rows ``x`` [..., n]; the range always includes 0."""
    low = x.amin(-1, keepdim=True).float().clamp(max=0) * clip
    high = x.amax(-1, keepdim=True).float().clamp(min=0) * clip
    scale = (high - low).clamp(min=MAX_FLOOR) / (2**bits - 1)
    zero = (code_range(bits)[0] - low / scale).round().clamp(*code_range(bits))
    return scale, zero


def to_codes(x: Tensor, scale: Tensor, zero: Tensor | None, bits: int) -> Tensor:
    """Signed integer codes of ``x``, kept in floating point: clamp(round_half_even(x / scale) + zero)."""
    rounded = (x.float() / scale).round()
    if zero is not None:
        rounded = rounded + zero
    return rounded.clamp(*code_range(bits))


def quantize_rows(
    x: Tensor, bits: int, asymmetric: bool, clip: Tensor | float = 1.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes like ``x`` (floating point), scales [..., 1], zero points [..., 1] (None when symmetric)."""
    zero: Tensor | None = None
    if asymmetric:
        scale, zero = affine_scale(x, bits, clip)
    else:
        scale = symmetric_scale(x, bits, clip)
    return to_codes(x, scale, zero, bits), scale, zero


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
