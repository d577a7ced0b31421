"""``torchao``: the scaled int8 product of torchao, which its int8 dynamic layers end in, on our codes and scales.

``torchao.kernel.int_scaled_matmul(codes [M, K], weight [K, N], scale [M, 1])`` multiplies sums by the scale per token.
It is made for torch.compile: uncompiled it copies the weight in every call and prints the input to look at its type.
torchao's own layer is not used, because its tokens are quantized on another grid (largest value / 127.5).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgq_bench.environment import cpp_compiler
from fgq_bench.kernels.cuda.int8 import rows
from fgq_bench.kernels.kernel import Codes
from fgq_bench.kernels.peers import missing_library
from fgq_bench.kernels.peers.torch_int8 import TorchInt8, padded
from fgq_bench.torch_compile import fused


def scaled_product(
    codes: Tensor, weight: Tensor, scale: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Rows of ``codes`` [M, K] times ``weight`` [K, N], both int8, ``scale`` [M, 1]; one product, one loop."""
    from torchao.kernel import int_scaled_matmul

    y: Tensor = int_scaled_matmul(codes, weight, scale) * weight_scale
    return (y if bias is None else y + bias).to(dtype)


class Torchao(TorchInt8):
    """``TorchInt8`` with torchao's product, compiled together with the epilogue."""

    name = "torchao"

    @classmethod
    def missing(cls) -> str | None:
        """See ``Kernel``."""
        lack = missing_library("torchao")
        if lack is None and cpp_compiler() is None:
            return "no C++ compiler: torchao's product is fast only where torch.compile runs"
        return lack

    def multiply(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``."""
        shape, flat = codes.values.shape[:-1], rows(codes.values)
        scale = padded(codes.scale.expand(*shape, 1).reshape(-1, 1)).contiguous()
        y: Tensor = fused(scaled_product)(
            padded(flat), self.weight.t(), scale, self.weight_scale, self.bias, codes.dtype
        )
        return y[: len(flat)].view(*shape, -1)
