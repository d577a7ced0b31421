"""``gemlite``: its Triton layers, W8A8 with inputs quantized as they come, and W4A16 per channel or in groups.

Codes, scales and zero points go in through ``GemLiteLinear.pack`` as they are, scales in fp32 (the library's helpers
would round them to the dtype of the input). Online transforms run before it as in the reference.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from fgq_bench.kernels.kernel import IntegerKernel, Kernel, WeightOnlyKernel, centred_weight, foreign_group, odd_widths
from fgq_bench.kernels.peers import missing_library
from fgq_bench.quant.linear import QuantLinear

MULTIPLE = 32  # of both widths
BITS = 4  # in which the library stores weight codes of 2 to 4 bits
GROUPS = (32, 64, 128)  # it also offers 16, but its tiles of 32 inputs then read one scale for two groups


class Gemlite(Kernel):
    """What both kinds share: the library's layer, which is told the dtype call by call."""

    device_type = "cuda"

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        self.layer = self.packed(linear)

    @classmethod
    def missing(cls) -> str | None:
        """See ``Kernel``."""
        return missing_library("gemlite")

    @abstractmethod
    def packed(self, linear: QuantLinear) -> Any:
        """The library's layer with the codes of ``linear``."""

    def run(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """See ``Kernel``."""
        from gemlite.dtypes import TORCH_TO_DTYPE

        self.layer.output_dtype = TORCH_TO_DTYPE[dtype]
        if not self.integer:
            self.layer.input_dtype, x = TORCH_TO_DTYPE[dtype], x.to(dtype)
        y: Tensor = self.layer(x)
        return y


class GemliteInt8(Gemlite):
    """Integer codes of weights and inputs.

    The library quantizes inputs itself. Its grid is ours, but ties round away from zero, and no scale is below 1e-6.
    """

    name = "gemlite-int8"
    integer = True

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``: inputs must be quantized as the library quantizes them."""
        scheme = linear.scheme
        if scheme.activation_bits != 8 or scheme.activation_asymmetric:
            return "inputs on a symmetric grid of 8 bits, the library's own"
        if scheme.activation_per_tensor or scheme.has_static_inputs or linear.act_clip is not None:
            return "one scale per token, unclipped and found as the input comes, the library's own"
        return odd_widths(linear, MULTIPLE) or IntegerKernel.refusal(linear)

    def packed(self, linear: QuantLinear) -> Any:
        """See ``Gemlite``: codes [out, in] int8, scales [out, 1] fp32."""
        from gemlite import DType, GemLiteLinear

        width, out = linear.in_features, linear.out_features
        layer = GemLiteLinear(8, width, width, out, DType.INT8, DType.BF16, scaled_activations=True)
        return layer.pack(centred_weight(linear), linear.weight_scale, None, self.bias)


class GemliteWeight(Gemlite):
    """Float inputs and weights of at most 4 bits: (code - zero point) * scale, codes and zero points 0 to 15."""

    name = "gemlite-int4-weight"
    integer = False

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``."""
        return WeightOnlyKernel.refusal(linear) or foreign_group(linear, GROUPS) or odd_widths(linear, MULTIPLE)

    def packed(self, linear: QuantLinear) -> Any:
        """See ``Gemlite``: codes [out, in] uint8, scales [out, groups] fp32, zero points likewise or one for all.

        ``fma_mode`` would store scale * zero point in place of the zero point, and round it.
        """
        from gemlite import DType, GemLiteLinear

        shift = 2 ** (BITS - 1)  # from signed codes to unsigned ones
        width, out = linear.in_features, linear.out_features
        codes = (linear.codes + shift).to(torch.uint8)
        zero: Tensor | int = shift if linear.weight_zero is None else linear.weight_zero.float() + shift
        layer = GemLiteLinear(BITS, linear.scheme.group_size or width, width, out, DType.BF16, DType.BF16)
        return layer.pack(codes, linear.weight_scale, zero, self.bias, fma_mode=False)
