"""Randomised Hadamard transform fused with the quantiser: H of width a * b is H_a (x) H_b, two small factors of +-1.

The kernel is that of Kronecker transforms: two products, K * (a + b) multiply-adds a row, on tensor cores. Butterflies
need fewer operations but log2 K exchanges between threads; here any order that has a Hadamard matrix fits as well, and
+-1 is exact in fp16.
"""

from __future__ import annotations

from functools import cache
from math import prod

import torch
import triton
from torch import Tensor

from fgq_bench.kernels.triton.quantize import empty_codes
from fgq_bench.kernels.triton.transform import LARGEST_FACTOR, transform_rows
from fgq_bench.quant.hadamard import hadamard_factors, hadamard_matrix


def split(width: int) -> tuple[int, int]:
    """a, a power of two, and b with a * b = ``width``: the cheapest once both are padded to powers of two >= 16.

    Raises UserError where no Hadamard matrix has this width.
    """
    power = _power_of_two(width)

    def cost(a: int) -> tuple[int, int]:
        rows, columns = (max(16, triton.next_power_of_2(size)) for size in (a, width // a))
        return rows * columns * (rows + 2 * columns), max(rows, columns)

    fitting = [a for a in (2**k for k in range(power.bit_length())) if max(a, width // a) <= LARGEST_FACTOR]
    best = min(fitting, key=cost)
    return best, width // best


def _power_of_two(width: int) -> int:
    """The part of ``width`` that the factors of 2^k make: what is left is 1, 12, 20 or 28."""
    return prod(factor for factor in hadamard_factors(width) if factor & (factor - 1) == 0)


@cache
def hadamard_halves(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factors [a, a] and [b, b] of +-1 in fp16 whose Kronecker product is ``hadamard_transform``'s matrix, unscaled.

    Kept per width and device: the first call copies to the GPU, so make it before a CUDA graph is captured.
    """
    a, b = split(width)
    odd = width // _power_of_two(width)
    left, right = hadamard_matrix(a), torch.kron(hadamard_matrix(b // odd), hadamard_matrix(odd))
    return left.to(device, torch.float16), right.to(device, torch.float16)


def hadamard_quantize(
    x: Tensor,  # [M, K] fp32, fp16 or bf16, contiguous; K = 2^k * m for m in 1, 12, 20, 28
    signs: Tensor,  # [K] int8, +-1
    lowest: int,
    highest: int,
    clip: Tensor | None = None,  # [2]
    before: Tensor | None = None,  # [K], multiplied before the transform
    after: Tensor | None = None,  # [K], and behind it
) -> tuple[Tensor, Tensor]:
    """Codes [M, K] int8 and scales [M] of (x * signs) H, H orthonormal (transforms.Hadamard), computed in fp32.

    Raises UserError where no Hadamard matrix has width K, ValueError where shapes, types, layouts or the code range
    are not as said here.
    """
    codes, scales = empty_codes(x)
    left, right = hadamard_halves(x.shape[-1], x.device)
    transform_rows(
        x, left, right, codes, scales, (lowest, highest),
        clip=clip, before=before, after=after, signs=signs, factor=x.shape[-1] ** -0.5,
    )  # fmt: skip
    return codes, scales


def hadamard(x: Tensor, signs: Tensor, before: Tensor | None = None, after: Tensor | None = None) -> Tensor:
    """(x * signs) H in the type of ``x`` [M, K], for weight-only schemes; see ``hadamard_quantize``."""
    left, right = hadamard_halves(x.shape[-1], x.device)
    out = torch.empty_like(x)
    transform_rows(x, left, right, out, None, before=before, after=after, signs=signs, factor=x.shape[-1] ** -0.5)
    return out
