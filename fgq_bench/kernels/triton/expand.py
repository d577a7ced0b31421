"""Packed 4-bit codes -> one code a byte, for an integer product over many tokens."""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.checks import expect, expect_sizes, rows_and_width
from fgq_bench.kernels.triton.common import on_device
from fgq_bench.kernels.triton.packing import HALF, packed_width
from fgq_bench.kernels.triton.unpacking import nibbles

CHANNELS = 32


@triton.jit
def expand_kernel(packed, out, channels, width, size, CHANNELS: tl.constexpr, HALF: tl.constexpr):  # type: ignore[no-untyped-def]
    """One program: the columns of ``HALF`` bytes, of ``CHANNELS`` rows; ``size`` bytes a row."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)[:, None]
    byte = tl.program_id(1) * HALF + tl.arange(0, HALF)[None, :]
    inside = channel < channels
    low, high = nibbles(tl.load(packed + channel * size + byte, mask=inside, other=0))
    k = tl.program_id(1) * HALF + byte
    tl.store(out + channel * width + k, low, mask=inside & (k < width))
    tl.store(out + channel * width + k + HALF, high, mask=inside & (k + HALF < width))


def expand_int4(
    packed: Tensor,  # [N, packed_width(K)] uint8, see ``packing.pack_int4``
    width: int,  # K
) -> Tensor:
    """The codes [N, K] int8. Raises ValueError for wrong types or shapes, or an N or K that is no multiple of 16."""
    channels, size = rows_and_width("packed", packed)
    expect_sizes(channels, width)
    expect("packed", packed, (torch.uint8,), (channels, packed_width(width)))
    out = torch.empty(channels, width, dtype=torch.int8, device=packed.device)
    with on_device(packed):
        expand_kernel[(triton.cdiv(channels, CHANNELS), size // HALF)](
            packed, out, channels, width, size, CHANNELS, HALF
        )
    return out
