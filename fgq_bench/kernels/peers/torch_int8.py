"""``torch-int8``: the int8 product that PyTorch itself brings (cuBLASLt), between our quantiser and a compiled epilogue.

On CUDA ``torch._int_mm`` takes more than 16 rows, widths that are multiples of 8 (``CudaInt8`` asks for 16), and is
fast where the right operand is column-major.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.kernels.cpu.int8 import rescale
from fgq_bench.kernels.cuda.int8 import CudaInt8, rows
from fgq_bench.kernels.kernel import Codes
from fgq_bench.torch_compile import fused

FEWEST = 17  # rows that the product takes


def padded(x: Tensor) -> Tensor:
    """Rows ``x`` [M, n] with rows of zeros below, where there are too few of them."""
    return F.pad(x, (0, 0, 0, FEWEST - len(x))) if len(x) < FEWEST else x


class TorchInt8(CudaInt8):
    """``CudaInt8`` with PyTorch's product: sums [M, out] are written in int32 and read again by the epilogue."""

    name = "torch-int8"

    def accumulate(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``; int32."""
        flat = rows(codes.values)
        sums = torch._int_mm(padded(flat), self.weight.t())
        return sums[: len(flat)].view(*codes.values.shape[:-1], -1)

    def multiply(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``."""
        sums = self.accumulate(codes)
        y: Tensor = fused(rescale)(sums, self.weight_scale, codes.scale, self.bias, codes.dtype)
        return y
