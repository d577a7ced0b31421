"""A quantized linear layer: integer codes and scales; who multiplies them is injected."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fgq_bench.quant.grid import dequantize, quantize_rows
from fgq_bench.quant.scheme import Scheme

Executor = Callable[[Tensor, "QuantLinear"], Tensor]


class QuantLinear(nn.Module):
    """y = executor(x): integer codes [out, in], scales [out, groups], optional zero points and bias.

    At 16 weight bits ``codes`` holds the float weight itself and there are no scales. The module never imports a
    kernel: a backend hands it an ``executor`` (see ``fgq_bench.kernels``).
    """

    def __init__(
        self,
        scheme: Scheme,
        codes: Tensor,  # [out, in] int8, or the float weight at 16 bits
        weight_scale: Tensor | None,  # [out, groups] fp32
        weight_zero: Tensor | None,  # [out, groups] int8
        bias: Tensor | None,  # [out]
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.codes: Tensor
        self.weight_scale: Tensor | None
        self.weight_zero: Tensor | None
        self.bias: Tensor | None
        self.register_buffer("codes", codes)
        self.register_buffer("weight_scale", weight_scale)
        self.register_buffer("weight_zero", weight_zero)
        self.register_buffer("bias", bias)
        self.executor: Executor | None = None

    @classmethod
    def from_float(cls, weight: Tensor, bias: Tensor | None, scheme: Scheme, name: str = "linear") -> QuantLinear:
        """Round ``weight`` [out, in] to the nearest point of the scheme's grid.

        Raises UserError when the scheme's group size does not divide the input width (``name`` is told).
        """
        bias = None if bias is None else bias.detach().clone()
        if not scheme.quantizes_weights:
            return cls(scheme, weight.detach().clone(), None, None, bias)
        groups = scheme.groups_of(weight.shape[1], name)
        rows = weight.detach().unflatten(1, (groups, -1))
        codes, scale, zero = quantize_rows(rows, scheme.weight_bits, scheme.weight_asymmetric)
        zero = None if zero is None else zero.squeeze(-1).to(torch.int8)
        return cls(scheme, codes.flatten(1).to(torch.int8), scale.squeeze(-1), zero, bias)

    @property
    def in_features(self) -> int:
        """Input width."""
        return self.codes.shape[1]

    @property
    def out_features(self) -> int:
        """Output width."""
        return self.codes.shape[0]

    def dequantized_weight(self) -> Tensor:
        """The weight [out, in] that the codes stand for, in fp32."""
        if self.weight_scale is None:
            return self.codes.float()
        rows = self.codes.unflatten(1, (self.weight_scale.shape[1], -1))
        zero = None if self.weight_zero is None else self.weight_zero[..., None]
        return dequantize(rows, self.weight_scale[..., None], zero).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` [..., in] through the injected executor."""
        if self.executor is None:
            raise RuntimeError("QuantLinear has no executor: bind a backend first (QuantizedModel.install)")
        return self.executor(x, self)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{self.in_features}, {self.out_features}, {self.scheme}"
