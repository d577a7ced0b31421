"""AWQ: scale up the weights that large activations meet, then clip weights, both by search (Lin et al., MLSys 2024).

The output error of a linear is trace(D H D^T) for the rounding error D, so the search needs the Hessian alone, not the
inputs. It is scored on each linear itself; the original scores qkv on the output of the whole attention module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.grid import dequantize, quantize_weight
from fgq_bench.quant.linear import find_linear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.scaling import ChannelScaling

FLOOR = 1e-4  # smallest scale, as in the original search


def round_off(weight: Tensor, scheme: Scheme, groups: int) -> Tensor:
    """``weight`` [out, in] after rounding, as real values."""
    return dequantize(*quantize_weight(weight, scheme.weight_bits, groups, scheme.weight_asymmetric)).flatten(1)


def candidate_scales(mean: Tensor, grid: int) -> Iterator[Tensor]:
    """Scales s [in]: mean|x|^alpha, alpha = 0, 1/grid, ..., normalised to sqrt(max s * min s) = 1.

    Args:
        mean: mean |x_j| [in].
    """
    for step in range(grid):
        scale = mean.pow(step / grid).clamp(min=FLOOR)
        yield scale / (scale.max() * scale.min()).sqrt()


def search_scale(weight: Tensor, mean: Tensor, hessian: Tensor, scheme: Scheme, groups: int, grid: int) -> Tensor:
    """The scale s [in] of least output error of the linear among ``candidate_scales``.

    Args:
        weight: [out, in]; ``mean``: mean |x_j| [in]; ``hessian``: [in, in].
    """
    best, best_error = torch.ones_like(mean), float("inf")
    for scale in candidate_scales(mean, grid):
        difference = round_off(weight * scale, scheme, groups) / scale - weight
        error = ((difference @ hessian) * difference).sum().item()
        if error < best_error:
            best, best_error = scale, error
    return best


@dataclass(frozen=True)
class ClippingRounder:
    """A ``Rounder`` that clips each group to the share of its maximum with the least output error, then rounds.

    Rows before ``first_row`` are not clipped (q and k, as in the original).
    """

    hessian: Tensor  # [in, in]
    shares: tuple[float, ...]
    first_row: int

    def __call__(self, weight: Tensor, scheme: Scheme, groups: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """See ``fgq_bench.quant.linear.Rounder``."""
        rows = weight.float().unflatten(1, (groups, -1))
        size = rows.shape[-1]
        index = torch.arange(groups, device=weight.device)
        within = self.hessian.view(groups, size, groups, size)[index, :, index]  # [groups, size, size]
        best = torch.ones_like(rows[..., :1])
        best_error = torch.full_like(best, float("inf"))
        for share in self.shares:
            clip = torch.full_like(best, share)
            parts = quantize_weight(weight, scheme.weight_bits, groups, scheme.weight_asymmetric, (clip, clip))
            difference = dequantize(*parts) - rows
            spread = torch.einsum("ogi,gij->ogj", difference, within)
            error = (spread * difference).sum(-1, keepdim=True)
            better = error < best_error
            best, best_error = torch.where(better, clip, best), torch.where(better, error, best_error)
        best[: self.first_row] = 1
        return quantize_weight(weight, scheme.weight_bits, groups, scheme.weight_asymmetric, (best, best))


class AWQ(Quantizer):
    """Search a scale per input channel, then a clip per group; activations (below 16 bits) are rounded to nearest."""

    class Options(Quantizer.Options):
        """``grid``: values of alpha; ``clip_steps`` shares from 1 down by ``clip_step`` (1 step: no clipping)."""

        grid: int = Field(20, ge=1)
        clip_steps: int = Field(10, ge=1)
        clip_step: float = Field(0.05, gt=0, lt=1)

        @model_validator(mode="after")
        def _shares_stay_positive(self) -> Self:
            if (self.clip_steps - 1) * self.clip_step >= 1:
                raise ValueError("clip_steps and clip_step: the smallest share must stay above 0")
            return self

    options: Options

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        o, scaling, multipliers = self.options, ChannelScaling(job), {}
        for name in job.targets:
            statistics = job.statistics(name)
            weight, _ = find_linear(job.model, name)
            multiplier = torch.ones_like(statistics.mean)
            if job.scheme.quantizes_weights:
                groups = job.scheme.groups_of(weight.shape[1], name)
                multiplier /= search_scale(weight, statistics.mean, statistics.hessian, job.scheme, groups, o.grid)
            scaling.add(name, multiplier, into_v=True)
            multipliers[name] = multiplier
        shares = tuple(1 - step * o.clip_step for step in range(o.clip_steps))
        linears = {}
        for name in job.targets:
            weight, _ = find_linear(job.model, name)
            unclipped = 2 * len(weight) // 3 if name.endswith("attn.qkv") else 0
            hessian = multipliers[name][:, None] * job.statistics(name).hessian * multipliers[name]
            linears[name] = scaling.round(name, ClippingRounder(hessian, shares, unclipped))
        return job.product(linears, scaling.overrides)
