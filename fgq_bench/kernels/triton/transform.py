"""The kernel of ``kronecker.py`` and ``hadamard.py``: a row as a matrix X [a, b] becomes left^T X right, then codes.

Factors are fp16, and so is everything that the tensor cores multiply: fp32 values are cut into a high and a low fp16
part (22 bits), products add up in fp32. Powers of two keep the parts in fp16's range: each row is scaled by its own
largest element, and by a bound from ``left`` on what the first product makes of it. They are never multiplied back
into the elements, only into the row's scale. Codes are products with a reciprocal, not quotients: what they are of is
not exact to the last bit either.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.common import on_device
from fgq_bench.kernels.triton.quantize import (
    check_rows,
    check_vectors,
    near_codes,
    round_to,
    row_max,
    row_scale,
    row_sum,
)
from fgq_bench.kernels.triton.tiles import generation

LARGEST_FACTOR = 128  # a factor stays in shared memory or registers
# Programs loop over rows, so that factors are read once; so many warps of a multiprocessor run at once, by registers.
WARPS_PER_PROCESSOR = 12
TIGHT_WARPS, TIGHT_REGISTERS = 16, 128


@triton.jit
def to_range(largest: tl.tensor) -> tl.tensor:
    """The power of two that brings ``largest`` >= 0 (fp32) into [2^14, 2^15), and its inverse; 2^114 at most."""
    exponent = tl.maximum(largest.to(tl.int32, bitcast=True) >> 23, 27)
    up = ((268 - exponent) << 23).to(tl.float32, bitcast=True)
    return up, ((exponent - 14) << 23).to(tl.float32, bitcast=True)


@triton.jit
def dot_left(left: tl.tensor, y: tl.tensor, EXACT: tl.constexpr) -> tl.tensor:
    """``left`` (fp16) times ``y`` (fp32), which is cut in two unless it fits fp16 (``EXACT``)."""
    high = y.to(tl.float16)
    if EXACT:
        return tl.dot(left, high)
    return tl.dot(left, high, tl.dot(left, (y - high.to(tl.float32)).to(tl.float16)))


@triton.jit
def dot_right(y: tl.tensor, right: tl.tensor, EXACT: tl.constexpr) -> tl.tensor:
    """``y`` (fp32) times ``right`` (fp16); see ``dot_left``."""
    high = y.to(tl.float16)
    if EXACT:
        return tl.dot(high, right)
    return tl.dot(high, right, tl.dot((y - high.to(tl.float32)).to(tl.float16), right))


@triton.jit
def load_factor(factor: tl.tensor, size: tl.constexpr, BLOCK: tl.constexpr, TRANSPOSED: tl.constexpr) -> tl.tensor:
    """``factor`` [size, size] in a zero-padded block, transposed if so asked."""
    row, column = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    at = column * size + row if TRANSPOSED else row * size + column
    return tl.load(factor + at, (row < size) & (column < size), 0.0)


@triton.jit
def transform_row(
    y: tl.tensor,  # [BLOCK_A, BLOCK_B] fp32
    left: tl.tensor,  # transposed
    right: tl.tensor,
    left_up: tl.tensor,
    left_down: tl.tensor,
    EXACT: tl.constexpr,
) -> tl.tensor:
    """left^T y right for one row ``y``, and what to multiply it with; a factor of None is the identity."""
    up, down = to_range(row_max(tl.abs(y)))
    y = y * (up * left_up)
    if left is None:
        y = dot_right(y, right, EXACT)
    else:
        y = dot_left(left, y, EXACT)
        if right is not None:
            y = dot_right(y, right, False)
    return y, down * left_down


@triton.jit
def balanced(left: tl.tensor) -> tl.tensor:
    """``left`` (fp16, transposed), what to multiply rows with before it, and both undone.

    Rows below 2^15 stay below it. A small factor grows, a large one leaves it to the rows: neither passes fp16's range.
    """
    up, down = to_range(row_max(row_sum(tl.abs(left.to(tl.float32)), 1)))
    up, down = up * 0.000030517578125, down * 32768.0  # 2^15
    grown = (left.to(tl.float32) * tl.maximum(up, 1.0)).to(tl.float16)
    return grown, tl.minimum(up, 1.0), down


@triton.jit
def load_row(x: tl.tensor, signs: tl.tensor, before: tl.tensor, at: tl.tensor, inside: tl.tensor) -> tl.tensor:
    """``x`` (already in registers) in fp32, times signs and diagonal at ``at`` where there are any."""
    y = x.to(tl.float32)
    if signs is not None:  # the sign bits meet in one instruction; converting the signs to fp32 is slow
        flip = tl.load(signs + at, inside, 0).to(tl.int32) & -0x80000000
        y = (y.to(tl.int32, bitcast=True) ^ flip).to(tl.float32, bitcast=True)
    if before is not None:
        y *= tl.load(before + at, inside, 0.0).to(tl.float32)
    return y


@triton.jit
def transform_kernel(
    x: tl.tensor,
    signs: tl.tensor,
    before: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    after: tl.tensor,
    clip: tl.tensor,
    out: tl.tensor,
    scales: tl.tensor,  # None: write the transformed rows instead of codes
    rows: tl.tensor,
    factor: tl.constexpr,
    A: tl.constexpr,
    B: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_B: tl.constexpr,
    lowest: tl.constexpr,
    highest: tl.constexpr,
    EXACT: tl.constexpr,  # scaled elements fit fp16: no low parts in the first product
) -> None:
    """Row by row: ``factor`` * after * (left^T (before * signs * x) right), then the quantiser."""
    i, j = tl.arange(0, BLOCK_A)[:, None], tl.arange(0, BLOCK_B)[None, :]
    inside = (i < A) & (j < B)
    at = i * B + j
    left_block, right_block, left_up, left_down = None, None, 1.0, 1.0
    if right is not None:
        right_block = load_factor(right, B, BLOCK_B, False)
    if left is not None:
        left_block = load_factor(left, A, BLOCK_A, True)
        if right is not None:
            left_block, left_up, left_down = balanced(left_block)
    width = tl.full([], A * B, tl.int64)  # offsets may pass 2^31
    row = tl.program_id(0)
    loaded = tl.load(x + width * row + at, inside, 0.0)
    while row < rows:
        y = load_row(loaded, signs, before, at, inside)
        following = row + tl.num_programs(0)  # loaded while this row is worked on
        loaded = tl.load(x + width * following + at, inside & (following < rows), 0.0)
        y, unit = transform_row(y, left_block, right_block, left_up, left_down, EXACT)
        unit = unit * factor
        if after is not None:
            y *= tl.load(after + at, inside, 0.0).to(tl.float32)
        if scales is None:
            y = round_to(y * unit, out.dtype.element_ty)
            tl.store(out + width * row + at, y.to(out.dtype.element_ty), inside)
        else:
            scale = row_scale(y, clip, highest, unit)
            codes = near_codes(y, tl.div_rn(unit, scale), clip, lowest, highest)
            tl.store(out + width * row + at, codes, inside)
            tl.store(scales + row, scale)
        row = following


def transform_rows(
    x: Tensor,  # [M, K]
    left: Tensor | None,  # [a, a] fp16
    right: Tensor | None,  # [b, b] fp16
    out: Tensor,  # [M, K] int8, or of the type of ``x``
    scales: Tensor | None,  # [M] fp32; None: no quantisation
    limits: tuple[int, int] = (-1, 1),  # lowest and highest code
    *,
    clip: Tensor | None = None,  # [2]
    before: Tensor | None = None,  # [K]
    after: Tensor | None = None,  # [K]
    signs: Tensor | None = None,  # [K] int8, +-1
    factor: float = 1.0,
) -> None:
    """Launch the kernel on ``x``, into ``out`` and ``scales``.

    Raises ValueError where shapes, types, layouts or the code range are not as said here.
    """
    check_rows(x, *limits)
    check_vectors(x, clip=clip, before=before, after=after, signs=signs)
    a, b = _sizes(x, left, right)
    options = block_launch(a, b, generation(x.device), plain=clip is None and before is None)
    if len(x):
        with on_device(x):
            transform_kernel[(_programs(x, options),)](
                x, signs, before, left, right, after, clip, out, scales, len(x), factor, a, b,
                lowest=limits[0], highest=limits[1], EXACT=before is None and x.dtype != torch.float32, **options,
            )  # fmt: skip


def block_launch(a: int, b: int, generation: int, *, plain: bool) -> dict[str, int]:
    """Launch settings for rows of a * b: padded factors, 32 elements per thread, loads ahead by hand (no stages).

    On Hopper the code for blocks of 32 x 32 and 64 x 64, ``plain`` (no clip, no diagonal before), needs a few registers
    more than would let 16 warps run at once, and can spare them; all else would spill.
    """
    block_a, block_b = (max(16, triton.next_power_of_2(size)) for size in (a, b))
    warps = min(max(block_a * block_b // 1024, 1), 8)
    settings = {"BLOCK_A": block_a, "BLOCK_B": block_b, "num_warps": warps, "num_stages": 1}
    tight = plain and generation >= 90 and block_a == block_b and block_a in (32, 64)
    return settings | ({"maxnreg": TIGHT_REGISTERS} if tight else {})


def _programs(x: Tensor, options: dict[str, int]) -> int:
    """How many programs share the rows of ``x``; off the GPU few, so that programs loop there as well."""
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 1
    warps = TIGHT_WARPS if "maxnreg" in options else WARPS_PER_PROCESSOR
    return min(len(x), processors * max(warps // options["num_warps"], 1))


def _sizes(x: Tensor, left: Tensor | None, right: Tensor | None) -> tuple[int, int]:
    """a and b of ``x`` [M, a * b] for the given factors; raises ValueError where they do not fit."""
    factors = {name: factor for name, factor in (("left", left), ("right", right)) if factor is not None}
    for name, factor in factors.items():
        size = len(factor)
        if factor.dtype != torch.float16 or factor.shape != (size, size) or not factor.is_contiguous():
            raise ValueError(f"{name} must be square, contiguous, fp16: {factor.dtype} {list(factor.shape)}")
        if size > LARGEST_FACTOR or factor.device != x.device:
            raise ValueError(f"{name} must be at most {LARGEST_FACTOR} wide, on {x.device}: {size}, {factor.device}")
    if not factors:
        raise ValueError("a transform without factors is the identity: call quantize_tokens")
    sizes = {name: len(factor) for name, factor in factors.items()}
    a = sizes.get("left") or x.shape[1] // sizes["right"]
    b = sizes.get("right") or x.shape[1] // a
    if a * b != x.shape[1]:
        raise ValueError(f"factors of {a} and {b} do not make rows of {x.shape[1]}")
    return a, b
