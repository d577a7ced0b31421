"""A linear while its clipping is learned: weight and input rounded to their grids, differentiable (LWC and LAC).

Learned weight clipping: OmniQuant (Shao et al., ICLR 2024); learned activation clipping: FlatQuant (Sun et al., ICML
2025). Factors are sigmoids of learned logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.quant.fake import fake_quantize
from fgq_bench.quant.grid import Clip, code_tensors
from fgq_bench.quant.scheme import Scheme

LOGIT = 4.0  # start of every clipping factor: sigmoid(4) = 0.982
OFF = float("inf")  # a clipping logit: sigmoid 1


@dataclass(frozen=True)
class Grids:
    """How weights and inputs are rounded; code ranges are tensors, so that one compiled graph serves every bit-width."""

    weight_bits: tuple[Tensor, Tensor]
    activation_bits: tuple[Tensor, Tensor]
    weight_asymmetric: bool
    activation_asymmetric: bool
    activation_per_tensor: bool

    @classmethod
    def of(cls, scheme: Scheme, device: torch.device) -> Grids:
        """The grids of ``scheme``; 16 bits ("float") are a grid too fine to matter, so that the graph stays the same."""
        return cls(
            code_tensors(scheme.weight_bits, device), code_tensors(scheme.activation_bits, device),
            scheme.weight_asymmetric, scheme.activation_asymmetric, scheme.activation_per_tensor,
        )  # fmt: skip


def initial_clips(weights: dict[str, Tensor], scheme: Scheme) -> dict[str, Tensor]:
    """Clipping logits of linears whose ``weights`` [out, in] are given by name: ``weight_clip.<name>``
    [2, out, groups, 1] and ``input_clip`` [2, linears] (lower and upper end).
    """
    clips = {"input_clip": torch.full((2, len(weights)), LOGIT)}
    for name, weight in weights.items():
        shape = (2, weight.shape[0], scheme.groups_of(weight.shape[1], name), 1)
        clips[f"weight_clip.{name}"] = torch.full(shape, LOGIT)
    return clips


def switch_clipping(parameters: dict[str, Tensor], scheme: Scheme, lwc: bool, lac: bool) -> set[str]:
    """Take the clipping that is switched off, or that ``scheme`` has no use for, out of ``parameters``, in place;
    returns those names.
    """
    used = {"weight_clip": lwc and scheme.quantizes_weights, "input_clip": lac and scheme.quantizes_activations}
    off = {name for name in parameters for prefix, on in used.items() if name.startswith(prefix) and not on}
    parameters.update({name: torch.full_like(parameters[name], OFF) for name in off})
    return off


def weight_clip(parameters: dict[str, Tensor], name: str) -> Clip:
    """LWC factors [out, groups, 1] on a linear's row minimum and maximum."""
    low, high = parameters[f"weight_clip.{name}"].sigmoid()
    return low, high


def input_clip(parameters: dict[str, Tensor], index: int) -> Clip:
    """LAC factors [] on the minimum and maximum of the input of the linear number ``index``."""
    low, high = parameters["input_clip"][:, index].sigmoid()
    return low, high


def rounded_weight(weight: Tensor, clip: Clip, grids: Grids) -> Tensor:
    """``weight`` [out, in] clipped and rounded group by group, as real values."""
    rows = weight.unflatten(1, (clip[0].shape[-2], -1))
    return fake_quantize(rows, grids.weight_bits, grids.weight_asymmetric, clip, clamp=True).flatten(1)


def rounded_linear(x: Tensor, weight: Tensor, bias: Tensor | None, clip: Clip, grids: Grids) -> Tensor:
    """Outputs [tokens, out] in fp32 of inputs ``x`` [tokens, in] rounded with LAC; the product is taken in bf16."""
    rows = x.reshape(1, -1) if grids.activation_per_tensor else x
    rounded = fake_quantize(rows, grids.activation_bits, grids.activation_asymmetric, clip, clamp=False).view_as(x)
    out = F.linear(rounded.bfloat16(), weight.bfloat16()).float()
    return out if bias is None else out + bias
