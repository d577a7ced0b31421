"""Integer codes -> a float weight, for a library product over many tokens."""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.checks import expect, expect_grid, expect_output, expect_sizes, rows_and_width
from fgq_bench.kernels.triton.common import on_device
from fgq_bench.kernels.triton.epilogue import store_rounded
from fgq_bench.kernels.triton.packing import HALF, packed_width
from fgq_bench.kernels.triton.unpacking import nibbles

CHANNELS = 32


@triton.jit
def store_weight(  # type: ignore[no-untyped-def]
    codes, weight_scale, weight_zero, out, channel, k, channels, width,
    scale_row, scale_column, zero_row, zero_column, GROUP_SIZE: tl.constexpr,
):  # fmt: skip
    """Write (codes - zero) * scale of ``codes`` int8 [channel, k]."""
    inside = (channel < channels)[:, None] & (k < width)[None, :]
    group = (k // GROUP_SIZE)[None, :]
    values = codes.to(tl.float32)
    if weight_zero is not None:
        zero = tl.load(weight_zero + channel[:, None] * zero_row + group * zero_column, mask=inside, other=0)
        values = values - zero.to(tl.float32)
    scale = tl.load(weight_scale + channel[:, None] * scale_row + group * scale_column, mask=inside, other=0.0)
    at = out + channel[:, None] * width + k[None, :]
    store_rounded(at, values * scale, out.dtype.element_ty, inside)


@triton.jit
def dequantize_kernel(  # type: ignore[no-untyped-def]
    weight,  # [channels, size] uint8 (two codes a byte) or int8
    weight_scale,  # [channels, groups] fp32
    weight_zero,  # [channels, groups] int8 or None
    out,  # [channels, width]
    channels,
    width,
    size,
    scale_row,
    scale_column,
    zero_row,
    zero_column,
    CHANNELS: tl.constexpr,
    HALF: tl.constexpr,  # bytes of a row for one program
    GROUP_SIZE: tl.constexpr,
    PACKED: tl.constexpr,
):
    """One program: the columns of ``HALF`` bytes, of ``CHANNELS`` rows."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    byte = tl.program_id(1) * HALF + tl.arange(0, HALF)
    inside = (channel < channels)[:, None] & (byte < size)[None, :]
    stored = tl.load(weight + channel[:, None] * size + byte[None, :], mask=inside, other=0)
    if PACKED:
        low, high = nibbles(stored)
        k = tl.program_id(1) * HALF + byte
        store_weight(low, weight_scale, weight_zero, out, channel, k, channels, width, scale_row, scale_column, zero_row, zero_column, GROUP_SIZE)  # fmt: skip
        store_weight(high, weight_scale, weight_zero, out, channel, k + HALF, channels, width, scale_row, scale_column, zero_row, zero_column, GROUP_SIZE)  # fmt: skip
    else:
        store_weight(stored, weight_scale, weight_zero, out, channel, byte, channels, width, scale_row, scale_column, zero_row, zero_column, GROUP_SIZE)  # fmt: skip


def _launch(
    weight: Tensor, scale: Tensor, zero: Tensor | None, width: int, group_size: int | None, dtype: torch.dtype
) -> Tensor:
    channels, size = rows_and_width("weight", weight)
    expect_sizes(channels, width)
    expect_output(dtype)
    expect_grid(scale, zero, channels, width, group_size)
    out = torch.empty(channels, width, dtype=dtype, device=weight.device)
    grid = (triton.cdiv(channels, CHANNELS), triton.cdiv(size, HALF))
    strides = (*scale.stride(), *((0, 0) if zero is None else zero.stride()))
    flags = (CHANNELS, HALF, group_size or width, weight.dtype == torch.uint8)
    with on_device(weight):
        dequantize_kernel[grid](weight, scale, zero, out, channels, width, size, *strides, *flags)
    return out


def dequantize_int4(
    packed: Tensor,  # [N, packed_width(K)] uint8, see ``packing.pack_int4``
    scale: Tensor,  # [N, groups] fp32
    zero: Tensor | None,  # [N, groups] int8
    width: int,  # K
    group_size: int | None = None,  # None: one scale per channel
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """(code - zero) * scale [N, K] in fp32, rounded once to ``dtype``: bit-equal to ``QuantLinear`` rounded.

    Raises ValueError for wrong types or shapes, or an N or K that is no multiple of 16.
    """
    expect("packed", packed, (torch.uint8,), (packed.shape[0], packed_width(width)))
    return _launch(packed, scale, zero, width, group_size, dtype)


def dequantize_int8(
    codes: Tensor,  # [N, K] int8
    scale: Tensor,  # [N, groups] fp32
    zero: Tensor | None,  # [N, groups] int8
    group_size: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """``dequantize_int4`` of codes that are stored one a byte."""
    expect("codes", codes, (torch.int8,), tuple(codes.shape))
    return _launch(codes, scale, zero, codes.shape[1], group_size, dtype)
