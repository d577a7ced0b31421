"""Integer linear with weights stored two codes a byte (W4A4, W4A8): unpacked in registers, s8 tensor cores.

Nothing newer than sm_89 has int4 tensor cores, so 4-bit codes gain memory, not arithmetic: 4-bit inputs come as int8 too.
A nibble is unpacked to 16 times its code, which needs no sign extension: the sums are multiples of 16 and are shifted
back exactly.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.checks import expect, expect_output, expect_sizes, rows_and_width
from fgq_bench.kernels.triton.common import GROUP, is_interpreted, on_device, tile_of_program
from fgq_bench.kernels.triton.epilogue import store_scaled
from fgq_bench.kernels.triton.packing import BLOCK_K, HALF, packed_width
from fgq_bench.kernels.triton.tiles import INT4, pick
from fgq_bench.kernels.triton.unpacking import nibbles_times_16


@triton.jit
def int4_kernel(  # type: ignore[no-untyped-def]
    codes,  # [tokens, width] int8
    packed,  # [channels, bytes] uint8
    scale,  # [tokens] fp32
    weight_scale,  # [channels] fp32
    bias,  # [channels] fp32 or None
    out,  # [tokens, channels]
    tokens,
    channels,
    width,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
    HALF: tl.constexpr,  # of the layout: columns between the two codes of a byte
    STEP: tl.constexpr,  # bytes of a row that are read at once; divides HALF
    GROUP: tl.constexpr,
    EVEN: tl.constexpr,  # 2 * HALF divides width
    RAW: tl.constexpr,  # write the int32 sums
    PLAIN: tl.constexpr,  # no inline assembly
):
    """y^T = W x^T with W unpacked in registers; the columns of one byte meet two tiles of inputs."""
    row, column = tile_of_program(tl.program_id(0), tokens, channels, TOKENS, CHANNELS, GROUP)
    token = row * TOKENS + tl.arange(0, TOKENS)
    channel = column * CHANNELS + tl.arange(0, CHANNELS)
    k = tl.arange(0, STEP)
    size = (width + 2 * HALF - 1) // (2 * HALF) * HALF  # bytes of a row
    x_at = codes + tl.minimum(token, tokens - 1)[:, None].to(tl.int64) * width + k[None, :]
    w_at = packed + tl.minimum(channel, channels - 1)[:, None] * size + k[None, :]
    sums = tl.full((CHANNELS, TOKENS), 0, tl.int32)
    for start in range(0, size, STEP):
        left = start // HALF * HALF + start  # the first column of the low nibbles
        if EVEN:
            x_low = tl.load(x_at + left)
            x_high = tl.load(x_at + (left + HALF))
        else:  # beyond the last column a packed row is padded with zeros
            x_low = tl.load(x_at + left, mask=(left + k < width)[None, :], other=0)
            x_high = tl.load(x_at + (left + HALF), mask=(left + HALF + k < width)[None, :], other=0)
        low, high = nibbles_times_16(tl.load(w_at + start), PLAIN)
        sums = tl.dot(low, tl.trans(x_low), sums, out_dtype=tl.int32)
        sums = tl.dot(high, tl.trans(x_high), sums, out_dtype=tl.int32)
    store_scaled(sums >> 4, token, channel, weight_scale, scale, bias, out, tokens, channels, RAW)


def _launch(
    codes: Tensor,
    scale: Tensor | None,  # None: the sums are wanted
    packed: Tensor,
    weight_scale: Tensor | None,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    (tokens, width), (channels, _) = rows_and_width("codes", codes), rows_and_width("packed", packed)
    expect_sizes(channels, width)
    expect("codes", codes, (torch.int8,), (tokens, width))
    expect("packed", packed, (torch.uint8,), (channels, packed_width(width)))
    expect("scale", scale, (torch.float32,), (tokens,))
    expect("weight_scale", weight_scale, (torch.float32,), (channels,))
    expect("bias", bias, (torch.float32,), (channels,))
    expect_output(dtype)
    out = torch.empty(tokens, channels, dtype=torch.int32 if scale is None else dtype, device=codes.device)
    if not tokens:
        return out
    tile = pick(INT4, tokens, channels, codes.device)
    grid = (triton.cdiv(tokens, tile.tokens) * triton.cdiv(channels, tile.channels),)
    sizes = (tokens, channels, width, tile.tokens, tile.channels, HALF, tile.depth // 2, GROUP)
    flags = (width % BLOCK_K == 0, scale is None, is_interpreted(int4_kernel))
    with on_device(codes):
        int4_kernel[grid](
            codes, packed, scale, weight_scale, bias, out, *sizes, *flags, enable_fp_fusion=False, **tile.options()
        )
    return out


def int4_linear(
    codes: Tensor,  # [M, K] int8, of 8-bit or 4-bit inputs
    scale: Tensor,  # [M] fp32
    packed: Tensor,  # [N, packed_width(K)] uint8, see ``packing.pack_int4``
    weight_scale: Tensor,  # [N] fp32
    bias: Tensor | None,  # [N] fp32
    dtype: torch.dtype,
) -> Tensor:
    """``int8_linear`` with packed 4-bit weights: bit-equal to it on the same codes. Raises ValueError alike."""
    return _launch(codes, scale, packed, weight_scale, bias, dtype)


def int4_sums(codes: Tensor, packed: Tensor) -> Tensor:
    """The sums [M, N] int32 of ``int4_linear`` by the same kernel, shifted back by 4 but not scaled."""
    return _launch(codes, None, packed, None, None, torch.float32)
