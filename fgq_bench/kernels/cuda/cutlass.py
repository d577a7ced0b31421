"""``cutlass-int8`` and ``cutlass-int4``: many tokens multiplied by CUTLASS on Hopper, few by the Triton kernels.

Quantisers and packed weights are those of ``cuda-int8`` and ``cuda-int4``. A weight of 4 bits is unpacked once per call
into a scratch of one byte per code, which stays in the L2 cache, and multiplied as such: nothing newer than sm_89 has
int4 tensor cores.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.kernels.cuda.int4 import CudaInt4
from fgq_bench.kernels.cuda.int8 import CudaInt8, rows
from fgq_bench.kernels.kernel import Codes

CAPABILITY = (9, 0)  # the only one that runs sm_90a code


class OnCutlass(CudaInt8):
    """``CudaInt8`` whose product is CUTLASS's above ``few_tokens``."""

    few_tokens: ClassVar[int]  # up to here the Triton kernel

    @classmethod
    def missing(cls) -> str | None:
        """See ``Kernel``."""
        if (lack := super().missing()) is not None:
            return lack
        if (capability := torch.cuda.get_device_capability()) != CAPABILITY:
            return f"written for compute capability 9.0, this GPU has {'.'.join(map(str, capability))}"
        from fgq_bench.kernels.cutlass.build import missing

        return missing()

    @classmethod
    def prepare(cls) -> str | None:
        """See ``Kernel``: compile, unless that was done."""
        from fgq_bench.kernels.cutlass.build import build

        try:
            build()
        except UserError as error:
            return str(error)
        return None

    def byte_weight(self) -> Tensor:
        """The weight's codes [out, in] int8."""
        return self.weight

    def _takes(self, codes: Codes, dtype: torch.dtype) -> bool:
        from fgq_bench.kernels.cutlass.variants import OUTPUTS

        return dtype in OUTPUTS and codes.values.numel() > self.few_tokens * self.in_features

    def accumulate(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``; fp32 where CUTLASS multiplies, int32 elsewhere."""
        if not self._takes(codes, torch.float32):
            return super().accumulate(codes)
        from fgq_bench.kernels.cutlass.int8_gemm import int8_sums

        return int8_sums(rows(codes.values), self.byte_weight()).view(*codes.values.shape[:-1], -1)

    def multiply(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``."""
        if not self._takes(codes, codes.dtype):
            return super().multiply(codes)
        from fgq_bench.kernels.cutlass.int8_gemm import int8_linear

        return self._through(int8_linear, codes, self.byte_weight())


class CutlassInt8(OnCutlass):
    """W8A8 and narrower."""

    name = "cutlass-int8"
    few_tokens = 256  # estimated: below, a tile of 64 tokens leaves most multiprocessors without work


class CutlassInt4(OnCutlass, CudaInt4):
    """W4A4 and W4A8."""

    name = "cutlass-int4"
    few_tokens = 2048  # estimated from both products' times at 1 374 and 13 740 tokens and 4 us of unpacking

    def byte_weight(self) -> Tensor:
        """See ``OnCutlass``."""
        from fgq_bench.kernels.triton.expand import expand_int4

        return expand_int4(self.weight, self.in_features)
