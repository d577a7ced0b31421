"""``cpu-int8``: W8A8, W4A8, W4A4 and narrower by one int8 product; inputs are quantized per token as they come.

oneDNN multiplies unsigned inputs by signed weights, which it has packed once; codes are shifted to unsigned ones and
the shift is subtracted again inside the product. Weights of 4 bits are unpacked to bytes when the model is loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgq_bench.kernels.kernel import Codes, IntegerKernel, centred_weight
from fgq_bench.kernels.reference import input_codes
from fgq_bench.quant.grid import Clip, code_tensors, quantize_input
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.torch_compile import fused

INT16 = 2**15 - 1


def shift(scheme: Scheme) -> int:
    """What makes the centred codes of inputs unsigned."""
    return int(2 ** (scheme.activation_bits - 1 + scheme.activation_asymmetric))


def saturates(scheme: Scheme) -> bool:
    """Whether two products may overflow the 16 bits in which processors without VNNI add them up."""
    largest_weight = 2 ** (scheme.weight_bits - 1 + scheme.weight_asymmetric)
    return bool(2 * (2 * shift(scheme) - 1) * largest_weight > INT16)


def unsigned_codes(
    x: Tensor, codes: tuple[Tensor, Tensor], asymmetric: bool, per_tensor: bool, clip: Clip | None, offset: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes from lowest to highest, plus ``offset``, like ``x`` [..., in] uint8, and scales: a loop over the rows."""
    values, scale = quantize_input(x.float(), codes, asymmetric, per_tensor, clip)
    return (values + offset).to(torch.uint8), scale


def rescale(sums: Tensor, weight_scale: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Sums [tokens, out] fp32 times both scales, plus bias: one loop."""
    y = sums * weight_scale * scale
    return (y if bias is None else y + bias).to(dtype)


class CpuInt8(IntegerKernel):
    """int8 product of oneDNN between a compiled quantiser and a compiled epilogue."""

    name = "cpu-int8"
    device_type = "cpu"

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        self.packed: Tensor
        self.register_buffer("packed", torch.ops.onednn.qlinear_prepack(centred_weight(linear), None))
        self.range = code_tensors(self.scheme.activation_bits, torch.device("cpu"))
        self.offset_of_codes = shift(self.scheme)
        self.offset = torch.tensor(float(self.offset_of_codes))
        self.one = torch.ones(linear.out_features)
        self.zero = torch.zeros(linear.out_features, dtype=torch.int64)

    @classmethod
    def missing(cls) -> str | None:
        """See ``Kernel``."""
        if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_prepack")):
            return "this PyTorch is built without oneDNN"
        return None

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``; where sums of pairs saturate, wide codes are refused rather than wrong."""
        if not torch.cpu._is_vnni_supported() and saturates(linear.scheme):
            return f"this processor has no VNNI: pairs of {linear.scheme} products overflow 16 bits"
        return super().refusal(linear)

    def quantize(self, x: Tensor, dtype: torch.dtype) -> Codes:
        """See ``IntegerKernel``; values are unsigned, ``shift`` above the codes."""
        scheme = self.scheme
        if scheme.has_static_inputs:
            values, scale = input_codes(x.float(), self)
            return Codes((values + self.offset).to(torch.uint8), scale, dtype)
        kind = (scheme.activation_asymmetric, scheme.activation_per_tensor)
        values, scale = fused(unsigned_codes)(x, self.range, *kind, self.input_clip, self.offset)
        return Codes(values, scale, dtype)

    def accumulate(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``; fp32."""
        rows = codes.values.reshape(-1, self.in_features)
        sums: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows,
            1.0,
            self.offset_of_codes,
            self.packed,
            self.one,
            self.zero,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return sums.view(*codes.values.shape[:-1], -1)

    def multiply(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``."""
        sums = self.accumulate(codes)
        y: Tensor = fused(rescale)(sums, self.weight_scale, codes.scale, self.bias, codes.dtype)
        return y
