"""``cpu-int4-weight``: W4A16 and narrower weights. They are unpacked to the input's dtype and multiplied there.

For a few tokens PyTorch's int4 product is faster, as it reads a quarter of the bytes; for many it is several times
slower than unpacking, which costs the same for any number of tokens. It exists for bf16 inputs only, and keeps its own
copy of the codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.kernels.kernel import WeightOnlyKernel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.torch_compile import fused

FEW_TOKENS = 32  # up to here PyTorch's int4 product is the faster one (measured for the widths of VGGT-1B)
INT4_GROUPS = (256, 128, 64, 32)  # the groups that it knows


def pack_halves(codes: Tensor) -> Tensor:
    """Codes [out, groups, n] in -8..7 as bytes [out, groups, n / 2]: the second half of a group in the high bits.

    Halves instead of neighbours: unpacking then writes two runs, which is twice as fast.
    """
    low, high = (codes + 8).to(torch.uint8).chunk(2, -1)
    return low | (high << 4)


def unpack_halves(packed: Tensor, scale: Tensor, zero: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights [out, in] of packed codes; ``scale`` and ``zero`` (of codes from 0) are [out, groups]: one loop."""
    low = ((packed & 15).float() - zero[..., None]) * scale[..., None]
    high = ((packed >> 4).float() - zero[..., None]) * scale[..., None]
    return torch.cat([low, high], -1).flatten(1).to(dtype)


class CpuInt4Weight(WeightOnlyKernel):
    """Float inputs and weights of at most 4 bits: the better of two products, by the number of tokens."""

    name = "cpu-int4-weight"
    device_type = "cpu"

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        scale = linear.weight_scale
        assert scale is not None
        zero = torch.full_like(scale, 8.0)
        if linear.weight_zero is not None:
            zero = zero + linear.weight_zero
        grouped = linear.codes.unflatten(1, (scale.shape[1], -1))
        self.codes: Tensor
        self.weight_scale: Tensor
        self.weight_zero: Tensor
        self.register_buffer("codes", pack_halves(grouped))
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero", zero)
        self.few = _Int4Product.of(linear.codes, scale, zero)

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``."""
        if why := super().refusal(linear):
            return why
        group = linear.in_features // linear.scheme.groups_of(linear.in_features, "linear")
        return f"weight groups of {group} have no halves" if group % 2 else None

    def weight(self, dtype: torch.dtype) -> Tensor:
        """The unpacked weight [out, in]."""
        unpacked: Tensor = fused(unpack_halves)(self.codes, self.weight_scale, self.weight_zero, dtype)
        return unpacked

    def run(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """See ``Kernel``."""
        x = x.to(dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        if self.few is not None and dtype == torch.bfloat16 and x.numel() // self.in_features <= FEW_TOKENS:
            y: Tensor = self.few(x)
            return y if bias is None else y + bias
        return F.linear(x, self.weight(dtype), bias)


class _Int4Product(nn.Module):
    """PyTorch's int4 product with its own layout of codes, scales and zero points (in bf16)."""

    def __init__(self, codes: Tensor, scale: Tensor, zero: Tensor, group: int) -> None:
        super().__init__()
        self.group = group
        self.codes: Tensor
        self.scales: Tensor
        centre = (8 - zero) * scale  # it takes codes from 8, then adds this
        self.register_buffer("codes", torch._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32) + 8, 2))
        self.register_buffer("scales", torch.stack([scale, centre], -1).transpose(0, 1).contiguous().bfloat16())

    @classmethod
    def of(cls, codes: Tensor, scale: Tensor, zero: Tensor) -> _Int4Product | None:
        """None where no group that it knows divides the layer's, or a width does not suit it."""
        out, width = codes.shape
        own = width // scale.shape[1]
        group = next((size for size in INT4_GROUPS if own % size == 0), None)
        if group is None or out % 16:
            return None
        spread = (scale.repeat_interleave(own // group, 1), zero.repeat_interleave(own // group, 1))
        return cls(codes, spread[0], spread[1], group)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [..., in] bf16 to [..., out], without bias."""
        rows = x.reshape(-1, x.shape[-1])
        y: Tensor = torch._weight_int4pack_mm_for_cpu(rows, self.codes, self.group, self.scales)
        return y.view(*x.shape[:-1], -1)
