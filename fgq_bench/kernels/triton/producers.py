"""LayerNorm -> quantize and GELU -> quantize in one pass: the quantiser costs no trip through global memory.

What the producer would have stored is rounded to the type of ``x`` before it is quantized, as in the unfused path.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.common import on_device
from fgq_bench.kernels.triton.quantize import (
    INTERPRETED,
    check_rows,
    check_vectors,
    empty_codes,
    round_to,
    row_launch,
    row_sum,
    store_row,
)


@triton.jit
def layer_norm_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    diagonal: tl.tensor,
    clip: tl.tensor,
    codes: tl.tensor,
    scales: tl.tensor,
    eps: tl.tensor,
    lowest: tl.constexpr,
    highest: tl.constexpr,
    width: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One program per row; see ``layer_norm_quantize``. Two passes over registers: no cancellation in the variance."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    mask = columns < width
    loaded = tl.load(x + row * width + columns, mask, 0.0)
    y = loaded.to(tl.float32)
    centred = tl.where(mask, y - row_sum(y) / width, 0.0)
    deviation = tl.sqrt_rn(row_sum(centred * centred) / width + eps)
    multiplier = tl.load(weight + columns, mask, 0.0).to(tl.float32)
    offset = tl.load(bias + columns, mask, 0.0).to(tl.float32)
    y = round_to(centred * (1.0 / deviation) * multiplier + offset, loaded.dtype)
    store_row(y, row, diagonal, clip, codes, scales, lowest, highest, width, BLOCK)


@triton.jit
def gelu(x: tl.tensor) -> tl.tensor:
    """x * Phi(x) (fp32) within 5e-7, relatively 3e-6 down to -4.

    = max(x, 0) - a * Phi(-a), a = |x|, and log2 Phi(-a) is almost a parabola: this polynomial of degree 7 is within
    4e-6 of it up to 4 and below -30 from 6 on (fitted by iterated weights). It is a third of the instructions of erf.
    A NaN stays one.
    """
    a = tl.abs(x)
    p = -1.6551738376561927e-06 * a + 5.867841037267808e-05
    p = p * a - 0.000912166098747069
    p = p * a + 0.008451724918354603
    p = p * a - 0.05387389941997851
    p = p * a - 0.45852553202371465
    p = p * a - 1.1512353685975492
    p = p * a - 0.9999959215677169
    return tl.maximum(x, 0.0) - a * power_of_two(p)


@triton.jit
def power_of_two(x: tl.tensor) -> tl.tensor:
    """2^x (fp32), 0 below 2^-126: one instruction."""
    if INTERPRETED:
        return tl.exp2(x)
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=r,r", [x], tl.float32, True, 1)


@triton.jit
def gelu_kernel(
    x: tl.tensor,
    diagonal: tl.tensor,
    clip: tl.tensor,
    codes: tl.tensor,
    scales: tl.tensor,
    lowest: tl.constexpr,
    highest: tl.constexpr,
    width: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One program per row; see ``gelu_quantize``."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    loaded = tl.load(x + row * width + columns, columns < width, 0.0)
    y = loaded.to(tl.float32)
    y = round_to(gelu(y), loaded.dtype)
    store_row(y, row, diagonal, clip, codes, scales, lowest, highest, width, BLOCK)


def layer_norm_quantize(
    x: Tensor,  # [M, K] fp32, fp16 or bf16, contiguous
    weight: Tensor,  # [K]
    bias: Tensor,  # [K]
    eps: float,
    lowest: int,
    highest: int,
    clip: Tensor | None = None,  # [2]
    diagonal: Tensor | None = None,  # [K]
) -> tuple[Tensor, Tensor]:
    """Codes [M, K] int8 and scales [M] of LayerNorm(x), computed in fp32; see ``quantize_tokens`` for the rest.

    Raises ValueError where shapes, types, layouts or the code range are not as said there.
    """
    check_rows(x, lowest, highest)
    check_vectors(x, weight=weight, bias=bias, clip=clip, diagonal=diagonal)
    codes, scales = empty_codes(x)
    if len(x):
        with on_device(x):
            layer_norm_kernel[(len(x),)](
                x, weight, bias, diagonal, clip, codes, scales, eps, lowest, highest, **row_launch(x.shape[1])
            )
    return codes, scales


def gelu_quantize(
    x: Tensor,  # [M, K] fp32, fp16 or bf16, contiguous
    lowest: int,
    highest: int,
    clip: Tensor | None = None,  # [2]
    diagonal: Tensor | None = None,  # [K]
) -> tuple[Tensor, Tensor]:
    """Codes [M, K] int8 and scales [M] of GELU(x) in its erf form, within 5e-7; see ``quantize_tokens``.

    Raises ValueError where shapes, types, layouts or the code range are not as said there.
    """
    check_rows(x, lowest, highest)
    check_vectors(x, clip=clip, diagonal=diagonal)
    codes, scales = empty_codes(x)
    if len(x):
        with on_device(x):
            gelu_kernel[(len(x),)](x, diagonal, clip, codes, scales, lowest, highest, **row_launch(x.shape[1]))
    return codes, scales
