"""Channel scaling (SmoothQuant, AWQ): x' = x * m before a linear, W' = W / m in it, folded where mathematics allows.

It folds into the LayerNorm before ``qkv`` and ``fc1`` of a transformer block, and for ``proj`` into the rows of ``v``
(attention mixes tokens, not channels). Behind GELU or SiLU, and elsewhere, it stays an online transform.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
            for part in ("weight", "bias"):
                value = model.get_parameter(f"{norm}.{part}")
                self.overrides[f"{norm}.{part}"] = (value.double() * multiplier).to(value.dtype)
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
        return (weight.double() * self._row_factor(name)[:, None] / self._column_factor(name)).to(weight.dtype)

    def round(self, name: str, rounder: Rounder = round_to_nearest) -> QuantLinear:
        """The rounded linear with its share of all scales."""
        _, bias = find_linear(self.job.model, name)
        if bias is not None:
            bias = (bias.double() * self._row_factor(name)).to(bias.dtype)
        transforms = [self._online[name]] if name in self._online else []
        return self.job.round(name, self.weight(name), bias, transforms=transforms, rounder=rounder)

    def _row_factor(self, name: str) -> Tensor:
        weight, _ = find_linear(self.job.model, name)
        return self._rows.get(name, torch.ones(len(weight), dtype=torch.double, device=weight.device))

    def _column_factor(self, name: str) -> Tensor:
        weight, _ = find_linear(self.job.model, name)
        return self._columns.get(name, torch.ones(weight.shape[1], dtype=torch.double, device=weight.device))
