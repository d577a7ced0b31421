"""A quantized linear layer: input transforms, integer codes and scales; who multiplies them is injected."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fgq_bench.models.layers import at_least_float32
from fgq_bench.quant.grid import Clip, dequantize, quantize_weight
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Transform

Executor = Callable[[Tensor, "QuantLinear"], Tensor]
Rounder = Callable[[Tensor, Scheme, int], tuple[Tensor, Tensor, Tensor | None]]
"""(weight [out, in], scheme, groups) -> codes [out, groups, in / groups], scales and zero points [out, groups, 1]."""
PARTS = ("q", "k", "v")  # a fused ``qkv`` linear may be replaced by three


def round_to_nearest(weight: Tensor, scheme: Scheme, groups: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """The plain ``Rounder``."""
    return quantize_weight(weight, scheme.weight_bits, groups, scheme.weight_asymmetric)


class QuantLinear(nn.Module):
    """y = executor(x): input transforms, integer codes [out, in], scales [out, groups], optional zero points and bias.

    At 16 weight bits ``codes`` holds the float weight itself and there are no scales. The input's grid is found as it
    comes, unless the scheme is static: then it is stored, one per token position within a frame (or one for all), and
    repeats over the tokens. The module never imports a kernel: a backend hands it an ``executor`` (see
    ``fgq_bench.kernels``).
    """

    def __init__(
        self,
        scheme: Scheme,
        codes: Tensor,  # [out, in] int8, or the float weight at 16 bits
        weight_scale: Tensor | None,  # [out, groups] fp32
        weight_zero: Tensor | None,  # [out, groups] int8
        bias: Tensor | None,  # [out]
        act_clip: Tensor | None = None,  # [2] factors on the input's minimum and maximum
        transforms: Sequence[Transform] = (),
        *,
        act_scale: Tensor | None = None,  # [positions] fp32, static schemes only
        act_zero: Tensor | None = None,  # [positions] int8, None when symmetric
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.codes: Tensor
        self.weight_scale: Tensor | None
        self.weight_zero: Tensor | None
        self.bias: Tensor | None
        self.act_clip: Tensor | None
        self.act_scale: Tensor | None
        self.act_zero: Tensor | None
        self.register_buffer("codes", codes)
        self.register_buffer("weight_scale", weight_scale)
        self.register_buffer("weight_zero", weight_zero)
        self.register_buffer("bias", bias)
        self.register_buffer("act_clip", act_clip)
        self.register_buffer("act_scale", act_scale)
        self.register_buffer("act_zero", act_zero)
        self.transforms = nn.ModuleList(transforms)
        self.executor: Executor | None = None

    @classmethod
    def from_float(
        cls,
        weight: Tensor,
        bias: Tensor | None,
        scheme: Scheme,
        name: str = "linear",
        *,
        transforms: Sequence[Transform] = (),
        act_clip: Tensor | None = None,
        rounder: Rounder = round_to_nearest,
    ) -> QuantLinear:
        """Undo ``transforms`` in ``weight`` [out, in] (in float64) and round the outcome with ``rounder``.

        Weight and bias that are stored in bf16 count as fp32 numbers. Raises UserError when the scheme's group size
        does not divide the input width (``name`` is told).
        """
        bias = None if bias is None else at_least_float32(bias.detach()).clone()
        weight = at_least_float32(weight.detach())
        changed = weight
        for transform in transforms:
            changed = transform.undo(changed)
        changed = changed.to(weight.dtype, copy=True).contiguous()
        if not scheme.quantizes_weights:
            return cls(scheme, changed, None, None, bias, act_clip, transforms)
        codes, scale, zero = rounder(changed, scheme, scheme.groups_of(weight.shape[1], name))
        zero = None if zero is None else zero.squeeze(-1).to(torch.int8)
        return cls(
            scheme, codes.flatten(1).to(torch.int8).contiguous(), scale.squeeze(-1), zero, bias, act_clip, transforms
        )

    @property
    def in_features(self) -> int:
        """Input width."""
        return self.codes.shape[1]

    @property
    def out_features(self) -> int:
        """Output width."""
        return self.codes.shape[0]

    @property
    def input_clip(self) -> Clip | None:
        """Factors on the input's minimum and maximum, None where the range is not clipped."""
        return None if self.act_clip is None else (self.act_clip[0], self.act_clip[1])

    def transformed(self, x: Tensor) -> Tensor:
        """The input ``x`` [..., in] after all transforms: what is quantized and multiplied with the codes."""
        for transform in self.transforms:
            x = transform(x)
        return x

    def dequantized_weight(self) -> Tensor:
        """The (transformed) weight [out, in] that the codes stand for, in fp32; at 16 bits as it is."""
        if self.weight_scale is None:
            return self.codes
        rows = self.codes.unflatten(1, (self.weight_scale.shape[1], -1))
        zero = None if self.weight_zero is None else self.weight_zero[..., None]
        return dequantize(rows, self.weight_scale[..., None], zero).flatten(1)

    def bound_to(self, executor: Executor, device: torch.device, memo: dict[int, Any]) -> QuantLinear:
        """A copy on ``device`` that ``executor`` runs; transforms shared under one ``memo`` stay shared."""
        parts = (self.codes, self.weight_scale, self.weight_zero, self.bias, self.act_clip)
        transforms = [copy.deepcopy(t, memo) for t in self.transforms if isinstance(t, Transform)]
        bound = QuantLinear(self.scheme, *parts, transforms, act_scale=self.act_scale, act_zero=self.act_zero)
        bound.executor = executor
        return bound.to(device)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` [..., in] through the injected executor."""
        if self.executor is None:
            raise RuntimeError("QuantLinear has no executor: bind a backend first (QuantizedModel.install)")
        return self.executor(x, self)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{self.in_features}, {self.out_features}, {self.scheme}"


class SplitLinear(nn.Module):
    """Takes the place of a fused ``qkv`` linear: three linears on the same input, outputs side by side."""

    def __init__(self, q: nn.Module, k: nn.Module, v: nn.Module) -> None:
        super().__init__()
        self.q, self.k, self.v = q, k, v

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [..., in] to [..., 3 * out]."""
        return torch.cat([self.q(x), self.k(x), self.v(x)], -1)


def fused_part(name: str) -> tuple[str, int] | None:
    """``("....attn.qkv", index)`` for a part's name ``....attn.q``, ``.k`` or ``.v``; None for any other name."""
    parent, _, child = name.rpartition(".")
    return (f"{parent}.qkv", PARTS.index(child)) if child in PARTS else None


def artefact_name(path: str) -> str:
    """The artefact's name of the linear at ``path``: the parts of a split ``attn.qkv`` lie at ``attn.qkv.q``, and are
    named ``attn.q``.
    """
    return path.replace(".qkv.", ".")


def quantized_linears(module: nn.Module, name: str) -> dict[str, QuantLinear]:
    """The quantized linears inside ``module``, which the model calls ``name`` (itself: nothing), by ``artefact_name``."""
    found = {path: each for path, each in module.named_modules(prefix=name) if isinstance(each, QuantLinear)}
    return {artefact_name(path): linear for path, linear in found.items()}


def find_linear(model: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """Weight [out, in] and bias of the float linear ``name``, which may be a third of a fused ``qkv``; at least fp32,
    also where the model stores them in bf16.
    """
    part = fused_part(name)
    linear = model.get_submodule(part[0] if part else name)
    assert isinstance(linear, nn.Linear), name
    weight: Tensor = linear.weight
    bias: Tensor | None = linear.bias
    if part is not None:
        weight, bias = weight.chunk(3)[part[1]], None if bias is None else bias.chunk(3)[part[1]]
    return at_least_float32(weight), None if bias is None else at_least_float32(bias)
