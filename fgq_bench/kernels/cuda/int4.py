"""``cuda-int4``: W4A4 and W4A8, weights of 4 bits in memory, multiplied on int8 tensor cores.

Current data-centre GPUs have no 4-bit tensor cores: the ceiling of the product is that of W8A8, what is gained over it
is bytes.
"""

from __future__ import annotations

from torch import Tensor

from fgq_bench.kernels.cuda.int8 import CudaInt8, rows
from fgq_bench.kernels.kernel import Codes
from fgq_bench.quant.linear import QuantLinear


class CudaInt4(CudaInt8):
    """``CudaInt8`` with two weight codes in a byte, unpacked in registers."""

    name = "cuda-int4"

    @staticmethod
    def layout(codes: Tensor) -> Tensor:
        """See ``CudaInt8``."""
        from fgq_bench.kernels.triton.packing import pack_int4

        return pack_int4(codes)

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``."""
        scheme = linear.scheme
        if scheme.weight_bits + scheme.weight_asymmetric > 4:
            return f"centred weight codes of at most 4 bits, not {scheme}"
        return super().refusal(linear)

    def accumulate(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``; int32."""
        from fgq_bench.kernels.triton.int4_gemm import int4_sums

        return int4_sums(rows(codes.values), self.weight).view(*codes.values.shape[:-1], -1)

    def multiply(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``."""
        from fgq_bench.kernels.triton.int4_gemm import int4_linear

        return self._through(int4_linear, codes, self.weight)
