"""Dynamic per-token quantisation in one pass over global memory; the grid that all fused kernels here share.

The codes equal ``grid.quantize_input``'s bit for bit: division is IEEE division, rounding is half to even. One program
holds one row in registers, so that the row is read once. Everything that comes from a tensor (clip factors, diagonals)
is read on the device: no host sync, usable in a CUDA graph.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.common import on_device

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)  # what the decorators below go by, too
WIDEST = 8192  # elements of a row that a program can hold
# Two values at once, on the arithmetic units: the compiler's conversion of one runs at a quarter of their rate or less.
ROUND_PAIR = tl.constexpr(
    "{ .reg .b32 pair; cvt.rn.bf16x2.f32 pair, $3, $2; shl.b32 $0, pair, 16; and.b32 $1, pair, 0xFFFF0000; }"
)


# ``tl.max`` and the like are jitted functions themselves: an interpreted kernel cannot call them in a process that
# imported Triton before TRITON_INTERPRET was set, as the test suite does. ``tl.reduce`` works in both.
@triton.jit
def _larger(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _smaller(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def row_max(y: tl.tensor) -> tl.tensor:
    """Largest element [] of ``y``; NaN where one is, as in torch."""
    return tl.reduce(y, None, _larger)


@triton.jit
def row_min(y: tl.tensor) -> tl.tensor:
    """Smallest element [] of ``y``; NaN where one is, as in torch."""
    return tl.reduce(y, None, _smaller)


@triton.jit
def row_sum(y: tl.tensor, axis: tl.constexpr = None) -> tl.tensor:
    """Sum of ``y`` over ``axis``, or over all."""
    return tl.reduce(y, axis, tl.standard._sum_combine)


@triton.jit
def round_to(y: tl.tensor, dtype: tl.constexpr) -> tl.tensor:
    """``y`` (fp32) rounded to nearest even in ``dtype``, and back: what a store and a load would do to it."""
    if INTERPRETED and dtype == tl.bfloat16:  # in integers, because the interpreter's own cast truncates
        bits = y.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return bits.to(tl.float32, bitcast=True)
    if dtype == tl.bfloat16:
        return tl.inline_asm_elementwise(ROUND_PAIR, "=r,=r,r,r", [y], tl.float32, True, 2)
    return y.to(dtype).to(tl.float32)


@triton.jit
def row_scale(y: tl.tensor, clip: tl.tensor, highest: tl.constexpr, unit: tl.tensor = None) -> tl.tensor:
    """Scale [] of one row ``y`` (fp32, any shape, padding 0) as ``grid.symmetric_scale``; ``clip`` [2] or None.

    Elements are in units of ``unit``, if that is given.

    A NaN in the row makes its scale NaN, and so the layer's output: codes could not tell.
    """
    if clip is None:
        largest = row_max(tl.abs(y))
    else:
        low = _smaller(row_min(y), 0.0) * tl.load(clip).to(tl.float32)
        high = _larger(row_max(y), 0.0) * tl.load(clip + 1).to(tl.float32)
        largest = _larger(-low, high)
    if unit is not None:
        largest *= unit
    return tl.div_rn(_larger(largest, 1e-5), tl.full([], highest, tl.float32))


@triton.jit
def divide(y: tl.tensor, scale: tl.tensor) -> tl.tensor:
    """``y`` / ``scale`` [], correctly rounded, for quotients that neither overflow nor matter when tiny.

    The reciprocal of a row's scale is shared by its elements. From a correctly rounded reciprocal, one residual makes
    the quotient faithful and a second one makes it exact (Markstein 1990): five instructions instead of the dozen, and
    the branch, of a general division. The interpreter's fma rounds twice, so there the division is numpy's.
    """
    if INTERPRETED:
        return tl.div_rn(y, scale)
    reciprocal = tl.div_rn(tl.full([], 1.0, tl.float32), scale)
    negative = -scale
    quotient = y * reciprocal
    quotient = tl.fma(tl.fma(negative, quotient, y), reciprocal, quotient)
    return tl.fma(tl.fma(negative, quotient, y), reciprocal, quotient)


@triton.jit
def row_codes(
    y: tl.tensor, scale: tl.tensor, clip: tl.tensor, lowest: tl.constexpr, highest: tl.constexpr
) -> tl.tensor:
    """Codes (int8) of ``y`` (fp32): clamp(round_half_even(y / scale)).

    ``y`` is clamped instead of the quotient: at the ends both round to the same integer, and nothing overflows. Where
    no ``clip`` cuts the range off, the scale is that of the largest element, and nothing lies outside.
    """
    if clip is not None:
        y = tl.minimum(tl.maximum(y, scale * lowest), scale * highest)
    return rounded(divide(y, scale))


@triton.jit
def near_codes(
    y: tl.tensor, reciprocal: tl.tensor, clip: tl.tensor, lowest: tl.constexpr, highest: tl.constexpr
) -> tl.tensor:
    """``row_codes`` by a multiplication: a quotient next to a half may round to the other side."""
    if clip is None:
        return rounded(y * reciprocal)
    return rounded(tl.minimum(tl.maximum(y * reciprocal, lowest), highest))


@triton.jit
def rounded(y: tl.tensor) -> tl.tensor:
    """``y`` (fp32, at most 2^21) rounded half to even, as int8.

    Adding 1.5 * 2^23 rounds at the last bit of the sum, whose low byte is the code in two's complement.
    """
    return (y + 12582912.0).to(tl.int32, bitcast=True).to(tl.int8)


@triton.jit
def store_row(
    y: tl.tensor,  # [BLOCK] fp32, 0 outside of ``mask``
    row: tl.tensor,
    diagonal: tl.tensor,
    clip: tl.tensor,
    codes: tl.tensor,
    scales: tl.tensor,
    lowest: tl.constexpr,
    highest: tl.constexpr,
    width: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Quantize one row and write its codes and scale."""
    columns = tl.arange(0, BLOCK)
    mask = columns < width
    if diagonal is not None:
        y *= tl.load(diagonal + columns, mask, 0.0).to(tl.float32)
    scale = row_scale(y, clip, highest)
    tl.store(codes + row * width + columns, row_codes(y, scale, clip, lowest, highest), mask)
    tl.store(scales + row, scale)


@triton.jit
def quantize_kernel(
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
    """One program per row; see ``quantize_tokens``."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    y = tl.load(x + row * width + columns, columns < width, 0.0).to(tl.float32)
    store_row(y, row, diagonal, clip, codes, scales, lowest, highest, width, BLOCK)


def check_rows(x: Tensor, lowest: int, highest: int) -> None:
    """Raise ValueError unless ``x`` [M, K] is contiguous, floating point, at most 8192 wide, and codes fit a byte."""
    if x.ndim != 2 or not x.is_contiguous() or x.dtype not in FLOATS:
        raise ValueError(f"want contiguous rows [M, K] of fp32, fp16 or bf16, not {x.dtype} {list(x.shape)}")
    if not 0 < x.shape[1] <= WIDEST:
        raise ValueError(f"rows of {x.shape[1]}: a program holds a whole row, at most {WIDEST} elements")
    if not -128 <= lowest <= 0 < highest <= 127:
        raise ValueError(f"codes from {lowest} to {highest} are no range of signed bytes around 0")


def check_vectors(x: Tensor, **vectors: Tensor | None) -> None:
    """Raise ValueError unless every given vector is contiguous, on the device of ``x``, [K] (``clip``: [2])."""
    for name, vector in vectors.items():
        size = 2 if name == "clip" else x.shape[1]
        if vector is None:
            continue
        if vector.shape != (size,) or not vector.is_contiguous() or vector.device != x.device:
            raise ValueError(
                f"{name} must be [{size}], contiguous, on {x.device}: {list(vector.shape)}, {vector.device}"
            )


def row_launch(width: int) -> dict[str, int]:
    """Launch settings of a kernel with a row of ``width`` per program: 32 elements per thread."""
    block = max(triton.next_power_of_2(width), 32)
    return {"width": width, "BLOCK": block, "num_warps": min(max(block // 1024, 1), 8)}


def empty_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the codes [M, K] int8 and scales [M] fp32 of ``x`` [M, K]."""
    return torch.empty_like(x, dtype=torch.int8), torch.empty(len(x), dtype=torch.float32, device=x.device)


def quantize_tokens(
    x: Tensor,  # [M, K] fp32, fp16 or bf16, contiguous
    lowest: int,
    highest: int,
    clip: Tensor | None = None,  # [2] factors on a row's minimum and maximum (QuantLinear.act_clip)
    diagonal: Tensor | None = None,  # [K], multiplied in fp32 first (transforms.Diagonal)
) -> tuple[Tensor, Tensor]:
    """Codes [M, K] int8 and scales [M] fp32 of the rows of ``x``, symmetric and dynamic, K at most 8192.

    Raises ValueError where shapes, types, layouts or the code range are not as said here.
    """
    check_rows(x, lowest, highest)
    check_vectors(x, clip=clip, diagonal=diagonal)
    codes, scales = empty_codes(x)
    if len(x):
        with on_device(x):
            quantize_kernel[(len(x),)](x, diagonal, clip, codes, scales, lowest, highest, **row_launch(x.shape[1]))
    return codes, scales
