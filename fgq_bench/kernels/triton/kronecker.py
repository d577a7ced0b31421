"""Kronecker transforms x (left (x) right) fused with the quantiser, as two small matrix products (FlatQuant).

A row of a * b elements costs a * b * (a + b) multiply-adds instead of the (a * b)^2 of a dense matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgq_bench.kernels.triton.quantize import empty_codes
from fgq_bench.kernels.triton.transform import transform_rows


def kronecker_quantize(
    x: Tensor,  # [M, a * b] fp32, fp16 or bf16, contiguous
    left: Tensor | None,  # [a, a] fp16
    right: Tensor | None,  # [b, b] fp16
    lowest: int,
    highest: int,
    clip: Tensor | None = None,  # [2]
    before: Tensor | None = None,  # [K], multiplied before the transform
    after: Tensor | None = None,  # [K], and behind it
) -> tuple[Tensor, Tensor]:
    """Codes [M, K] int8 and scales [M] of x (left (x) right), computed in fp32 (transforms.Kronecker).

    A missing factor is the identity. Factors are at most 128 wide, rows at most 8192. Raises ValueError where shapes,
    types, layouts or the code range are not as said here.
    """
    codes, scales = empty_codes(x)
    transform_rows(x, left, right, codes, scales, (lowest, highest), clip=clip, before=before, after=after)
    return codes, scales


def kronecker(
    x: Tensor, left: Tensor | None, right: Tensor | None, before: Tensor | None = None, after: Tensor | None = None
) -> Tensor:
    """x (left (x) right) in the type of ``x`` [M, a * b], for weight-only schemes; see ``kronecker_quantize``."""
    out = torch.empty_like(x)
    transform_rows(x, left, right, out, None, before=before, after=after)
    return out
