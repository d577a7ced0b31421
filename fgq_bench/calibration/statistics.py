"""What methods ask of a linear's calibration inputs: magnitudes by token type, and the Hessian of its output error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fgq_bench.calibration.stream import Stage
from fgq_bench.models.interface import TOKEN_TYPES
from fgq_bench.models.watching import watched_inputs


@dataclass
class LinearStatistics:
    """Statistics of one linear's inputs [n] over all calibration tokens, by token type (camera, register, patch)."""

    count: Tensor  # [types] tokens
    absmax: Tensor  # [types, n] max |x_j|
    abs_sum: Tensor  # [types, n] sum of |x_j|
    hessian: Tensor  # [n, n] fp32, 2 / N * sum of x x^T over all tokens (Frantar et al. 2022)

    @property
    def maximum(self) -> Tensor:
        """max |x_j| [n] over all tokens."""
        return self.absmax.amax(0)

    @property
    def mean(self) -> Tensor:
        """Mean |x_j| [n] over all tokens."""
        return self.abs_sum.sum(0) / self.count.sum()

    @property
    def patch_mean(self) -> Tensor:
        """Mean |x_j| [n] over patch tokens; over all tokens where there are no patches (camera head)."""
        patch = TOKEN_TYPES.index("patch")
        return self.abs_sum[patch] / self.count[patch] if self.count[patch] else self.mean

    def tensors(self) -> dict[str, Tensor]:
        """By field name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class _Accumulator:
    """Adds up ``LinearStatistics`` from a linear's inputs, in fp32, without keeping any of them.

    ``chosen`` [tokens] bool: the tokens that count.
    """

    def __init__(self, width: int, types: Tensor, chosen: Tensor) -> None:
        self.chosen, self.types, kinds, device = chosen, types[chosen], len(TOKEN_TYPES), types.device
        self.count = torch.zeros(kinds, device=device)
        self.absmax = torch.zeros(kinds, width, device=device)
        self.abs_sum = torch.zeros(kinds, width, device=device)
        self.moment = torch.zeros(width, width, device=device)

    def add(self, x: Tensor) -> None:
        """Take in ``x`` [batch, tokens, n]."""
        values = x.detach().float()
        values = values if self.chosen.all() else values[:, self.chosen]
        magnitude = values.abs()
        largest, total = magnitude.amax(0), magnitude.sum(0)  # [tokens, n]
        for kind in range(len(TOKEN_TYPES)):
            chosen = self.types == kind
            if chosen.any():
                self.count[kind] += chosen.sum() * len(x)
                self.absmax[kind] = torch.maximum(self.absmax[kind], largest[chosen].amax(0))
                self.abs_sum[kind] += total[chosen].sum(0)
        flat = values.flatten(0, 1)
        self.moment.addmm_(flat.T, flat)

    def finish(self) -> LinearStatistics:
        """The statistics; the Hessian is normalised by the number of tokens."""
        return LinearStatistics(self.count, self.absmax, self.abs_sum, self.moment * (2 / self.count.sum()))


def collect(stage: Stage, targets: Iterable[str], patches_only: bool = False) -> dict[str, LinearStatistics]:
    """Run ``stage`` on all its clips and return the statistics of those ``targets`` that belong to it.

    Args:
        patches_only: leave camera and register tokens out, where there are patches at all (QVGGT, section 3.3).
    """
    patches = stage.token_types == TOKEN_TYPES.index("patch")
    chosen = patches if patches_only and patches.any() else torch.ones_like(patches)
    linears = stage.linears(targets)
    found = {name: _Accumulator(linear.in_features, stage.token_types, chosen) for name, linear in linears.items()}
    with watched_inputs(linears, lambda name, x: found[name].add(x)):
        stage.outputs  # noqa: B018
    return {name: accumulator.finish() for name, accumulator in found.items()}
