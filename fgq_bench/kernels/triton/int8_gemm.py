"""Integer linear with weights stored one code a byte: s8 tensor cores, int32 sums over all columns."""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.checks import expect_int8_product, expect_output
from fgq_bench.kernels.triton.common import GROUP, on_device, tile_of_program
from fgq_bench.kernels.triton.epilogue import store_scaled
from fgq_bench.kernels.triton.tiles import INT8, pick


@triton.jit
def int8_kernel(  # type: ignore[no-untyped-def]
    codes,  # [tokens, width] int8
    weight,  # [channels, width] int8
    scale,  # [tokens] fp32
    weight_scale,  # [channels] fp32
    bias,  # [channels] fp32 or None
    out,  # [tokens, channels]
    tokens,
    channels,
    width,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
    DEPTH: tl.constexpr,
    GROUP: tl.constexpr,
    EVEN: tl.constexpr,  # DEPTH divides width
    RAW: tl.constexpr,  # write the int32 sums
):
    """y^T = W x^T: the weight is the left operand, so that few tokens cost a narrow tile instead of an empty one."""
    row, column = tile_of_program(tl.program_id(0), tokens, channels, TOKENS, CHANNELS, GROUP)
    token = row * TOKENS + tl.arange(0, TOKENS)
    channel = column * CHANNELS + tl.arange(0, CHANNELS)
    k = tl.arange(0, DEPTH)
    # Rows beyond the end read the last row again: cheaper than a mask, and they are never written.
    x_at = codes + tl.minimum(token, tokens - 1)[:, None].to(tl.int64) * width + k[None, :]
    w_at = weight + tl.minimum(channel, channels - 1)[:, None] * width + k[None, :]
    sums = tl.full((CHANNELS, TOKENS), 0, tl.int32)
    for start in range(0, width, DEPTH):
        if EVEN:
            x = tl.load(x_at + start)
            w = tl.load(w_at + start)
        else:
            inside = (start + k < width)[None, :]
            x = tl.load(x_at + start, mask=inside, other=0)
            w = tl.load(w_at + start, mask=inside, other=0)
        sums = tl.dot(w, tl.trans(x), sums, out_dtype=tl.int32)
    store_scaled(sums, token, channel, weight_scale, scale, bias, out, tokens, channels, RAW)


def _launch(
    codes: Tensor,
    scale: Tensor | None,  # None: the sums are wanted
    weight: Tensor,
    weight_scale: Tensor | None,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    tokens, channels, width = expect_int8_product(codes, scale, weight, weight_scale, bias)
    expect_output(dtype)
    out = torch.empty(tokens, channels, dtype=torch.int32 if scale is None else dtype, device=codes.device)
    if not tokens:
        return out
    tile = pick(INT8, tokens, channels, codes.device)
    grid = (triton.cdiv(tokens, tile.tokens) * triton.cdiv(channels, tile.channels),)
    sizes = (tokens, channels, width, tile.tokens, tile.channels, tile.depth, GROUP)
    even, raw = width % tile.depth == 0, scale is None
    with on_device(codes):
        # Without fused multiply-add the rounding is the reference's, step by step.
        int8_kernel[grid](
            codes, weight, scale, weight_scale, bias, out, *sizes, even, raw, enable_fp_fusion=False, **tile.options()
        )
    return out


def int8_linear(
    codes: Tensor,  # [M, K] int8
    scale: Tensor,  # [M] fp32
    weight: Tensor,  # [N, K] int8
    weight_scale: Tensor,  # [N] fp32
    bias: Tensor | None,  # [N] fp32
    dtype: torch.dtype,
) -> Tensor:
    """y [M, N] = (exact integer sums) * weight_scale * scale + bias in fp32, rounded once to ``dtype``.

    Bit-equal to the reference backend. Raises ValueError for wrong types or shapes, strides, or an N or K that is no
    multiple of 16. It never waits for the GPU.
    """
    return _launch(codes, scale, weight, weight_scale, bias, dtype)


def int8_sums(codes: Tensor, weight: Tensor) -> Tensor:
    """The sums [M, N] int32 of ``int8_linear`` by the same kernel, before any scale: what exactness is tested on."""
    return _launch(codes, None, weight, None, None, torch.float32)
