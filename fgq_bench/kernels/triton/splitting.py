"""Few tokens and few channels: several programs share the columns of one output, so that no multiprocessor idles.

Their parts are added in a fixed order by a second kernel, not by atomics: the same input gives the same bits.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fgq_bench.kernels.triton.epilogue import store_rounded

PROGRAMS = 256  # about two per multiprocessor of a large GPU; a constant, so that results do not depend on the GPU
LEAST = (
    512  # bytes of a row that are worth a program of their own: the second kernel costs about as much as reading them
)
BLOCK = 256


def split(size: int, step: int, tiles: int) -> tuple[int, int]:
    """Columns (in bytes, a multiple of ``step``) for one program, and programs per tile, of rows of ``size`` bytes."""
    steps = triton.cdiv(size, step)
    share = max(triton.cdiv(steps, max(1, min(PROGRAMS // tiles, steps))), min(steps, triton.cdiv(LEAST, step)))
    return share * step, triton.cdiv(steps, share)


@triton.jit
def combine_kernel(parts, bias, out, elements, channels, splits, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """``out`` [tokens, channels] = the sum of ``parts`` [splits, tokens, channels] + ``bias``."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    total = tl.full((BLOCK,), 0.0, tl.float32)
    for part in range(splits):
        total += tl.load(parts + part * elements + at, mask=inside, other=0.0)
    if bias is not None:
        total += tl.load(bias + at % channels, mask=inside, other=0.0)
    store_rounded(out + at, total, out.dtype.element_ty, inside)


def combine(parts: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """Add ``parts`` [splits, M, N] fp32 and ``bias`` [N] fp32 into ``out`` [M, N], and return it."""
    grid = (triton.cdiv(out.numel(), BLOCK),)
    combine_kernel[grid](parts, bias, out, out.numel(), out.shape[1], parts.shape[0], BLOCK)
    return out
