"""GPTQ: round column by column and let the columns that are left make up for the error (Frantar et al., ICLR 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.grid import dequantize, quantize_rows, to_codes
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job, Quantizer


@dataclass(frozen=True)
class GPTQRounder:
    """A ``Rounder`` that minimises the output error trace(D H D^T) of the rounding error D greedily.

    Scales of a group are fixed when its first column is reached; with ``act_order`` (columns by falling diagonal of
    H) all scales come from the weight as it was.
    """

    hessian: Tensor  # [in, in] of the linear's (transformed) inputs
    damping: float  # share of the mean diagonal that is added to it
    block: int  # columns between two updates of the rest of the weight
    act_order: bool

    def __call__(self, weight: Tensor, scheme: Scheme, groups: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """See ``fgq_bench.quant.linear.Rounder``."""
        out, width = weight.shape
        order = self.hessian.diagonal().argsort(descending=True, stable=True) if self.act_order else torch.arange(width)
        order = order.to(weight.device)
        factor, places = self._inverse_factor(order), order.tolist()
        bits, asymmetric, size = scheme.weight_bits, scheme.weight_asymmetric, width // groups
        rows = weight.float().unflatten(1, (groups, size)).clone()
        _, scale, zero = quantize_rows(rows, bits, asymmetric)
        work = weight.float()[:, order].clone()
        work[:, self.hessian.diagonal()[order] == 0] = 0
        codes = torch.zeros_like(work.T)  # [in, out], as below
        block = self.block if groups == 1 else max(size, self.block // size * size)  # no group across two blocks
        for start in range(0, width, block):
            end = min(start + block, width)
            part = work[:, start:end].T.contiguous()  # a column's weights lie side by side: several times as fast
            errors = torch.zeros_like(part)
            for index, column in enumerate(range(start, end)):
                group = places[column] // size
                if not self.act_order and column % size == 0 and groups > 1:
                    _, fresh, fresh_zero = quantize_rows(part[index : index + size].T, bits, asymmetric)
                    scale[:, group] = fresh
                    if zero is not None and fresh_zero is not None:
                        zero[:, group] = fresh_zero
                column_zero = None if zero is None else zero[:, group, 0]
                codes[column] = to_codes(part[index], scale[:, group, 0], column_zero, bits)
                rounded = dequantize(codes[column], scale[:, group, 0], column_zero)
                errors[index] = (part[index] - rounded) / factor[column, column]
                part[index + 1 :] -= errors[index] * factor[column, column + 1 : end, None]
            work[:, end:] -= errors.T.contiguous() @ factor[start:end, end:]
        restored = torch.empty_like(work)
        restored[:, order] = codes.T
        return restored.view(out, groups, size), scale, zero

    def _inverse_factor(self, order: Tensor) -> Tensor:
        """Upper Cholesky factor [in, in] of the inverse of the damped, reordered Hessian, in fp32."""
        hessian = self.hessian.double()[order][:, order]
        diagonal = hessian.diagonal()
        diagonal[diagonal == 0] = 1
        diagonal += self.damping * diagonal.mean()
        lower, failed = torch.linalg.cholesky_ex(hessian)
        if failed:
            raise UserError(f"the Hessian is not positive definite with damping {self.damping}; use a larger one")
        upper: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
        return upper.float()


class GPTQOptions(Quantizer.Options):
    """``damping``: share of the mean diagonal; ``block``: columns per update; ``act_order``: largest first."""

    damping: float = Field(0.01, gt=0)
    block: int = Field(128, ge=1)
    act_order: bool = False

    def rounder(self, hessian: Tensor) -> GPTQRounder:
        """The rounder for a linear with this Hessian [in, in]."""
        return GPTQRounder(hessian, self.damping, self.block, self.act_order)


class GPTQ(Quantizer):
    """GPTQ on every weight; activations are rounded to nearest."""

    Options = GPTQOptions
    options: GPTQOptions

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        return job.product(
            {name: job.round(name, rounder=self.options.rounder(job.statistics(name).hessian)) for name in job.targets}
        )
