"""Channel scaling (SmoothQuant, AWQ): x' = x * m before a linear, W' = W / m in it, folded where mathematics allows.

It folds into the LayerNorm before ``qkv`` and ``fc1`` of a transformer block, and for ``proj`` into the rows of ``v``
(attention mixes tokens, not channels). Behind GELU or SiLU, and elsewhere, it stays an online transform.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgq_bench.quant.linear import QuantLinear, Rounder, find_linear, round_to_nearest
from fgq_bench.quant.transforms import Diagonal
from fgq_bench.quantizers.base import Job

NORMS = {"attn.qkv": "norm1", "mlp.fc1": "norm2"}


def norm_before(name: str) -> str | None:
    """The LayerNorm whose output is the input of linear ``name`` and of nothing else, None where there is none."""
    for role, norm in NORMS.items():
        if name.endswith(f".{role}"):
            return f"{name.removesuffix(role)}{norm}"
    return None


def scaled_norm(model: nn.Module, norm: str, multiplier: Tensor) -> dict[str, Tensor]:
    """Weight and bias of the LayerNorm ``norm`` times ``multiplier`` [C], by parameter name, in the model's dtype."""
    values = {name: model.get_parameter(name) for name in (f"{norm}.weight", f"{norm}.bias")}
    return {name: (value.double() * multiplier).to(value.dtype) for name, value in values.items()}


class ChannelScaling:
    """Collects scales, then rounds the linears with them; ``overrides`` are the changed LayerNorms."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.overrides: dict[str, Tensor] = {}
        self._columns: dict[str, Tensor] = {}  # folded m by linear
        self._rows: dict[str, Tensor] = {}  # factors on a linear's outputs
        self._online: dict[str, Diagonal] = {}

    def add(self, name: str, multiplier: Tensor, into_v: bool = False) -> None:
        """Scale the input of ``name`` by ``multiplier`` [in]; ``into_v``: fold that of ``proj`` into v's rows."""
        multiplier = multiplier.double()
        norm, model = norm_before(name), self.job.model
        fused = name.removesuffix("proj") + "qkv"
        if norm is not None:
            self.overrides |= scaled_norm(model, norm, multiplier)
            self._columns[name] = multiplier
        elif into_v and name.endswith("attn.proj") and fused in self.job.targets:
            ones = torch.ones_like(multiplier)
            self._rows[fused] = torch.cat([ones, ones, multiplier])
            self._columns[name] = multiplier
        else:
            self._online[name] = Diagonal(multiplier)

    def weight(self, name: str) -> Tensor:
        """The weight [out, in] of ``name`` with every folded factor, in the model's dtype."""
        weight, _ = find_linear(self.job.model, name)
        changed = weight.double()
        if name in self._rows:
            changed = changed * self._rows[name][:, None]
        if name in self._columns:
            changed = changed / self._columns[name]
        return changed.to(weight.dtype)

    def round(self, name: str, rounder: Rounder = round_to_nearest) -> QuantLinear:
        """The rounded linear with its share of all scales."""
        _, bias = find_linear(self.job.model, name)
        if bias is not None and name in self._rows:
            bias = (bias.double() * self._rows[name]).to(bias.dtype)
        transforms = [self._online[name]] if name in self._online else []
        return self.job.round(name, self.weight(name), bias, transforms=transforms, rounder=rounder)
