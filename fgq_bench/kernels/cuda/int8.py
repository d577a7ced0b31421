"""``cuda-int8``: W8A8 and narrower on int8 tensor cores, a byte per weight; inputs are quantized as they come."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from fgq_bench.kernels.kernel import Codes, IntegerKernel, centred_weight, odd_widths
from fgq_bench.quant.grid import code_range
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.transforms import Diagonal

MULTIPLE = 16  # of both widths
WIDEST, WIDEST_FACTOR = 8192, 128  # of a row, and of a Kronecker factor, in one program
Product = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, torch.dtype], Tensor]
"""(codes [M, K], scale [M], weight, weight scale [N], bias [N], dtype) -> [M, N]."""


def missing_triton() -> str | None:
    """What is missing to run Triton kernels, None where nothing is."""
    if find_spec("triton") is None:
        return "Triton is not installed: pip install 'fgq-bench[gpu]'"
    return None if torch.cuda.is_available() else "no CUDA device"


def rows(x: Tensor) -> Tensor:
    """``x`` [..., n] as contiguous rows [M, n]."""
    return x.reshape(-1, x.shape[-1]).contiguous()


def fusable(transforms: nn.ModuleList) -> bool:
    """Whether the quantiser's own kernel does these transforms: one of any kind, with a diagonal before and behind it."""
    kinds = "".join("d" if isinstance(each, Diagonal) else "m" for each in transforms)
    narrow = all(len(f) <= WIDEST_FACTOR for each in transforms for f in each.buffers() if f.dim() == 2)
    return kinds in ("", "d", "m", "dm", "md", "dmd") and narrow


class CudaInt8(IntegerKernel):
    """Triton product with its epilogue; LayerNorm, GELU and online transforms quantise in one pass of their own."""

    name = "cuda-int8"
    device_type = "cuda"
    version = 2

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        self.weight: Tensor
        self.register_buffer("weight", self.layout(centred_weight(linear)))
        self.quantiser_transforms = self.is_plain and fusable(self.transforms)

    @staticmethod
    def layout(codes: Tensor) -> Tensor:
        """Weight codes [out, in] as the kernel reads them."""
        return codes.contiguous()

    @classmethod
    def missing(cls) -> str | None:
        """See ``Kernel``."""
        return missing_triton()

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``."""
        if why := odd_widths(linear, MULTIPLE):
            return why
        if linear.in_features > WIDEST:
            return f"rows of at most {WIDEST}, not {linear.in_features}"
        return super().refusal(linear)

    @property
    def is_plain(self) -> bool:
        """Whether inputs are quantized on a symmetric grid per token, found as they come: what the kernels do."""
        scheme = self.scheme
        return not (scheme.activation_asymmetric or scheme.activation_per_tensor or scheme.has_static_inputs)

    def transformed(self, x: Tensor) -> Tensor:
        """See ``Kernel``; where the quantiser transforms as well, nothing is left to do before it."""
        return x if self.quantiser_transforms else super().transformed(x)

    def quantize(self, x: Tensor, dtype: torch.dtype) -> Codes:
        """See ``IntegerKernel``: one kernel, with the transform inside."""
        if not self.is_plain:
            return super().quantize(x, dtype)
        from fgq_bench.kernels.cuda.inputs import quantize

        transforms = list(self.transforms) if self.quantiser_transforms else []
        codes, scale = quantize(rows(x), transforms, *code_range(self.scheme.activation_bits), self.act_clip)
        return Codes(codes.view(x.shape), scale.view(*x.shape[:-1], 1), dtype)

    def accumulate(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``; int32."""
        from fgq_bench.kernels.triton.int8_gemm import int8_sums

        return int8_sums(rows(codes.values), self.weight).view(*codes.values.shape[:-1], -1)

    def multiply(self, codes: Codes) -> Tensor:
        """See ``IntegerKernel``."""
        from fgq_bench.kernels.triton.int8_gemm import int8_linear

        return self._through(int8_linear, codes, self.weight)

    def _through(self, product: Product, codes: Codes, weight: Tensor) -> Tensor:
        shape = codes.values.shape[:-1]
        scale = codes.scale.expand(*shape, 1).reshape(-1).contiguous()
        y = product(rows(codes.values), scale, weight, self.weight_scale, self.bias, codes.dtype)
        return y.view(*shape, -1)

    def fused_with(self, producer: nn.Module) -> nn.Module | None:
        """See ``IntegerKernel``: plain grids, and no transform but a diagonal in between."""
        if not self.is_plain or any(not isinstance(each, Diagonal) for each in self.transforms):
            return None
        if len(self.transforms) > 1:
            return None
        from fgq_bench.kernels.cuda.inputs import QuantizingGelu, QuantizingLayerNorm

        diagonal = next((each.scale for each in self.transforms if isinstance(each, Diagonal)), None)
        grid = (*code_range(self.scheme.activation_bits), self.act_clip, diagonal)
        if isinstance(producer, nn.LayerNorm):
            return QuantizingLayerNorm(producer, *grid)
        return QuantizingGelu(*grid) if isinstance(producer, nn.GELU) else None
