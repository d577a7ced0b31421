"""Float inputs, integer weights (W4A16): the weight is read as codes and becomes float in registers only.

It pays while the weight's bytes bound the time, that is for few tokens. For many, ``dequantize`` and then a library
product do no more arithmetic and run faster: the caller decides.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.checks import expect, expect_grid, expect_sizes, rows_and_width
from fgq_bench.kernels.triton.common import GROUP, is_interpreted, on_device, tile_of_program
from fgq_bench.kernels.triton.epilogue import store_rounded
from fgq_bench.kernels.triton.packing import BLOCK_K, HALF, packed_width
from fgq_bench.kernels.triton.splitting import combine, split
from fgq_bench.kernels.triton.tiles import WEIGHT_ONLY, pick
from fgq_bench.kernels.triton.unpacking import nibbles, nibbles_as


@triton.jit
def add_product(  # type: ignore[no-untyped-def]
    sums, codes, x_at, zero_at, scale_at, left, width, zero_stride, scale_stride,
    STEP: tl.constexpr, EVEN: tl.constexpr, GROUP_SIZE: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """``sums`` [channel, token] + the columns ``left`` .. ``left`` + STEP of the weight, times their inputs.

    Grouped scales multiply the product, not the codes: fewer operations for few tokens, and codes stay exact (they and
    their differences from a zero point are integers up to 256, which bf16 holds).
    """
    if EVEN:
        x = tl.load(x_at + left)
    else:
        x = tl.load(x_at + left, mask=(left + tl.arange(0, STEP) < width)[None, :], other=0.0)
    codes = codes.to(tl.float32 if PLAIN else x.dtype)
    if zero_at is not None:
        zero = tl.load(zero_at + left // GROUP_SIZE * zero_stride, mask=left < width, other=0)
        codes = codes - zero.to(codes.dtype)[:, None]
    if PLAIN:  # the interpreter multiplies no bf16
        x = x.to(tl.float32)
    if scale_at is None:
        sums = tl.dot(codes, tl.trans(x), sums, out_dtype=tl.float32)
    else:
        scale = tl.load(scale_at + left // GROUP_SIZE * scale_stride, mask=left < width, other=0.0)
        sums += tl.dot(codes, tl.trans(x), out_dtype=tl.float32) * scale[:, None]
    return sums


@triton.jit
def weight_only_kernel(  # type: ignore[no-untyped-def]
    x,  # [tokens, width] bf16 or fp16
    weight,  # [channels, size] uint8 (two codes a byte) or int8
    weight_scale,  # [channels, groups] fp32
    weight_zero,  # [channels, groups] int8 or None
    bias,  # [channels] fp32 or None
    out,  # [tokens, channels]; [splits, tokens, channels] fp32 of columns that are split
    tokens,
    channels,
    width,
    size,
    span,  # bytes of a row for one program
    scale_row,
    scale_column,
    zero_row,
    zero_column,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEP: tl.constexpr,  # bytes of a row that are read at once
    HALF: tl.constexpr,  # columns between the two codes of a byte; 0: one code a byte
    GROUP: tl.constexpr,
    GROUP_SIZE: tl.constexpr,  # columns that share a scale
    GROUPED: tl.constexpr,  # more than one scale per channel
    EVEN: tl.constexpr,  # every step is full
    PLAIN: tl.constexpr,  # no inline assembly, fp32 operands
):
    """y^T = W x^T, as in ``int4_gemm``; the second axis of the grid splits the columns."""
    row, column = tile_of_program(tl.program_id(0), tokens, channels, TOKENS, CHANNELS, GROUP)
    token = row * TOKENS + tl.arange(0, TOKENS)
    channel = column * CHANNELS + tl.arange(0, CHANNELS)
    safe = tl.minimum(channel, channels - 1)
    k = tl.arange(0, STEP)
    x_at = x + tl.minimum(token, tokens - 1)[:, None].to(tl.int64) * width + k[None, :]
    w_at = weight + safe[:, None] * size + k[None, :]
    zero_at = None if weight_zero is None else weight_zero + safe * zero_row
    scale_at = weight_scale + safe * scale_row if GROUPED else None
    sums = tl.full((CHANNELS, TOKENS), 0.0, tl.float32)
    begin = tl.program_id(1) * span
    for start in range(begin, tl.minimum(begin + span, size), STEP):
        if HALF:
            packed = tl.load(w_at + start)
            low, high = nibbles(packed) if PLAIN else nibbles_as(packed, x.dtype.element_ty)
            left = start // HALF * HALF + start
            sums = add_product(sums, low, x_at, zero_at, scale_at, left, width, zero_column, scale_column, STEP, EVEN, GROUP_SIZE, PLAIN)  # fmt: skip
            sums = add_product(sums, high, x_at, zero_at, scale_at, left + HALF, width, zero_column, scale_column, STEP, EVEN, GROUP_SIZE, PLAIN)  # fmt: skip
        else:
            codes = tl.load(w_at + start) if EVEN else tl.load(w_at + start, mask=(start + k < size)[None, :], other=0)
            sums = add_product(sums, codes, x_at, zero_at, scale_at, start, width, zero_column, scale_column, STEP, EVEN, GROUP_SIZE, PLAIN)  # fmt: skip
    if not GROUPED:
        sums = sums * tl.load(weight_scale + safe * scale_row)[:, None]
    if bias is not None:
        sums = sums + tl.load(bias + safe)[:, None]
    at = out + (tl.program_id(1).to(tl.int64) * tokens + token)[None, :] * channels + channel[:, None]
    store_rounded(at, sums, out.dtype.element_ty, (channel < channels)[:, None] & (token < tokens)[None, :])


def weight_only_linear(
    x: Tensor,  # [M, K] bf16 or fp16
    weight: Tensor,  # [N, packed_width(K)] uint8 if packed, else codes [N, K] int8
    weight_scale: Tensor,  # [N, groups] fp32
    weight_zero: Tensor | None,  # [N, groups] int8
    bias: Tensor | None,  # [N] fp32
    group_size: int | None = None,  # None: one scale per channel
    *,
    packed: bool = True,
) -> Tensor:
    """y [M, N] = x @ ((codes - zero) * scale)^T + bias in the dtype of ``x``, summed in fp32.

    Weights of any width up to 8 bits come as int8 codes with ``packed=False``. Codes enter the product exactly and
    scales in fp32, so only the order of the sums differs from the reference; it depends on the shapes and the GPU's generation alone. Raises
    ValueError for wrong types or shapes, or an N or K that is no multiple of 16. It never waits for the GPU.
    """
    (tokens, width), (channels, _) = rows_and_width("x", x), rows_and_width("weight", weight)
    expect_sizes(channels, width)
    expect("x", x, (torch.bfloat16, torch.float16), (tokens, width))
    size = packed_width(width) if packed else width
    expect("weight", weight, (torch.uint8,) if packed else (torch.int8,), (channels, size))
    expect("bias", bias, (torch.float32,), (channels,))
    expect_grid(weight_scale, weight_zero, channels, width, group_size)
    out = torch.empty(tokens, channels, dtype=x.dtype, device=x.device)
    if not tokens:
        return out
    tile = pick(WEIGHT_ONLY, tokens, channels, x.device)
    grouped = weight_scale.shape[1] > 1
    step = math.gcd(tile.depth // 2, group_size) if grouped and group_size else tile.depth // 2
    tiles = triton.cdiv(tokens, tile.tokens) * triton.cdiv(channels, tile.channels)
    span, splits = split(size, step, tiles)
    parts = out if splits == 1 else torch.empty(splits, tokens, channels, dtype=torch.float32, device=x.device)
    zero_strides = (0, 0) if weight_zero is None else weight_zero.stride()
    with on_device(x):
        weight_only_kernel[tiles, splits](
            x, weight, weight_scale, weight_zero, bias if splits == 1 else None, parts,
            tokens, channels, width, size, span, *weight_scale.stride(), *zero_strides,
            tile.tokens, tile.channels, step, HALF if packed else 0, GROUP, group_size or width, grouped,
            width % (BLOCK_K if packed else step) == 0, is_interpreted(weight_only_kernel), **tile.options(),
        )  # fmt: skip
        return out if splits == 1 else combine(parts, bias, out)
