"""``cuda-int4-weight``: W4A16 and narrower weights, per channel or in groups, multiplied in bf16 or fp16.

For a few tokens the weight's bytes bound the time: one kernel reads the packed codes. For many the tensor cores do:
the weight is unpacked once per call, and the library's own product follows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.kernels.cuda.int8 import MULTIPLE, fusable, missing_triton, rows
from fgq_bench.kernels.kernel import WeightOnlyKernel, foreign_group, odd_widths
from fgq_bench.quant.linear import QuantLinear

FEW_TOKENS = 256  # up to here the fused kernel; not tuned on hardware
GROUPS = (16, 32, 64, 128)


class CudaInt4Weight(WeightOnlyKernel):
    """Float inputs and weights of at most 4 bits."""

    name = "cuda-int4-weight"
    device_type = "cuda"
    version = 2

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        from fgq_bench.kernels.triton.packing import pack_int4

        self.codes: Tensor
        self.weight_scale: Tensor
        self.weight_zero: Tensor | None
        self.group = linear.scheme.group_size
        self.transforms_at_once = fusable(self.transforms)
        self.register_buffer("codes", pack_int4(linear.codes))
        self.register_buffer("weight_scale", linear.weight_scale)
        self.register_buffer("weight_zero", linear.weight_zero)

    @classmethod
    def missing(cls) -> str | None:
        """See ``Kernel``."""
        return missing_triton()

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``."""
        return super().refusal(linear) or foreign_group(linear, GROUPS) or odd_widths(linear, MULTIPLE)

    def transformed(self, x: Tensor) -> Tensor:
        """See ``Kernel``: one Triton kernel, rounded once to the dtype of ``x``."""
        if not self.transforms or not self.transforms_at_once:
            return super().transformed(x)
        from fgq_bench.kernels.cuda.inputs import transform

        return transform(rows(x), list(self.transforms)).view(x.shape)

    def weight(self, dtype: torch.dtype) -> Tensor:
        """The unpacked weight [out, in]."""
        from fgq_bench.kernels.triton.dequantize import dequantize_int4

        return dequantize_int4(self.codes, self.weight_scale, self.weight_zero, self.in_features, self.group, dtype)

    def run(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """See ``Kernel``."""
        x = x.to(dtype)
        if dtype == torch.float32 or x.numel() // self.in_features > FEW_TOKENS:
            return F.linear(x, self.weight(dtype), None if self.bias is None else self.bias.to(dtype))
        from fgq_bench.kernels.triton.weight_only import weight_only_linear

        y = weight_only_linear(rows(x), self.codes, self.weight_scale, self.weight_zero, self.bias, self.group)
        return y.view(*x.shape[:-1], -1)
