"""The end of a matrix kernel: sums -> scaled, biased, rounded once, written.

The interpreter's own cast to bf16 truncates; there ``round_to`` comes first, so that tests see a GPU's values.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

from fgq_bench.kernels.triton.quantize import INTERPRETED, round_to


@triton.jit
def store_rounded(at, y, dtype: tl.constexpr, inside):  # type: ignore[no-untyped-def]
    """Write fp32 ``y`` to the addresses ``at``, rounded to nearest even in ``dtype``."""
    if INTERPRETED:
        y = round_to(y, dtype)
    tl.store(at, y.to(dtype), mask=inside)


@triton.jit
def store_scaled(sums, token, channel, weight_scale, scale, bias, out, tokens, channels, RAW: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write int32 ``sums`` [channel, token] to ``out`` [tokens, channels], scaled in the order of the reference.

    The sums lie transposed, because the weight is the left operand. With ``RAW`` they are written as they are.
    """
    inside = (channel < channels)[:, None] & (token < tokens)[None, :]
    at = out + token[None, :].to(tl.int64) * channels + channel[:, None]
    if RAW:
        tl.store(at, sums, mask=inside)
    else:
        y = sums.to(tl.float32) * tl.load(weight_scale + channel, mask=channel < channels, other=0.0)[:, None]
        y = y * tl.load(scale + token, mask=token < tokens, other=0.0)[None, :]
        if bias is not None:
            y = y + tl.load(bias + channel, mask=channel < channels, other=0.0)[:, None]
        store_rounded(at, y, out.dtype.element_ty, inside)
