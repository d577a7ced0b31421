"""FGQ: FlatQuant whose block loss weighs every channel by the tasks' Fisher information (Zhang et al., arXiv:2605.15828).

``block_bits`` adds mixed precision: within a block only the relative channel profile can act (the loss is divided by
its own value), so differences between blocks reach the result through the bits that a block is given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from fgq_bench.calibration.stream import Stage
from fgq_bench.errors import UserError
from fgq_bench.fisher import balance_tasks, channel_weights, load_or_estimate, token_weights
from fgq_bench.kernels.reference import execute
from fgq_bench.models.interface import ROLES, TOKEN_TYPES, block_names
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.scheme import BITS, Scheme
from fgq_bench.quantizers.base import Job
from fgq_bench.quantizers.flatquant import FlatQuant, FlatQuantOptions
from fgq_bench.task_losses import TASKS

HIGH = 8  # bits of a promoted block


class FGQOptions(FlatQuantOptions):
    """FlatQuant's, and: which Fisher information, of which tasks, and how it is used."""

    estimator: Literal["sum", "gauss-newton", "pseudo-label"] = "gauss-newton"
    probes: int = Field(8, ge=1)
    tasks: str = "camera+depth+points"
    control: Literal["none", "uniform", "permuted"] = "none"
    token_types: bool = False
    block_bits: int = Field(0, ge=0)

    @field_validator("tasks")
    @classmethod
    def _known(cls, value: str) -> str:
        if not set(value.split("+")) <= set(TASKS):
            raise ValueError(f"must be some of {', '.join(TASKS)}, joined by +")
        return value


class FGQ(FlatQuant):
    """FlatQuant with Fisher channel weights, and its controls: uniform and permuted weights."""

    Options = FGQOptions
    options: FGQOptions

    def channel_weights(self, job: Job, stage: Stage) -> Tensor:
        """See ``FlatQuant``; blocks without Fisher information (outside the aggregator) get ones."""
        blocks = self._blocks(job)
        if self.options.control == "uniform" or stage.name not in blocks:
            return super().channel_weights(job, stage)
        index, tasks = blocks.index(stage.name), self.options.tasks.split("+")
        fisher = self._fisher(job)
        if self.options.token_types:
            counts = stage.token_types.bincount(minlength=len(TOKEN_TYPES)).to(fisher)
            weights = token_weights(fisher, counts, tasks)[index]
        else:
            weights = channel_weights(fisher.sum(2), tasks)[index][None]
        if self.options.control == "permuted":
            generator = torch.Generator().manual_seed(1000 * job.seed + index)
            weights = weights[:, torch.randperm(weights.shape[1], generator=generator).to(weights.device)]
        return weights[stage.token_types] if self.options.token_types else weights

    @property
    def uniform(self) -> bool:
        """See ``Quantizer``: ``block_bits`` blocks get more bits than others."""
        return not self.options.block_bits

    def schemes(self, job: Job) -> dict[str, Scheme]:
        """See ``FlatQuant``: the ``block_bits`` most sensitive blocks get 8 bits, the least sensitive ones pay."""
        if not self.options.block_bits:
            return {}
        blocks, low, payers = self._blocks(job), *self._price(job.scheme)
        if self.options.block_bits + payers > len(blocks):
            raise UserError(
                f"block_bits = {self.options.block_bits} at {job.scheme}: {payers} blocks would have to fall to "
                f"{low} bits, and the model has {len(blocks)} blocks"
            )
        loss = self._expected_loss(job, blocks)
        order = sorted(blocks, key=lambda block: -loss[block])
        wide = max(HIGH, job.scheme.activation_bits)
        promoted = {block: replace(job.scheme, weight_bits=HIGH, activation_bits=wide) for block in order[: self.options.block_bits]}  # fmt: skip
        return promoted | {block: replace(job.scheme, weight_bits=low) for block in order[len(order) - payers :]}

    def _price(self, scheme: Scheme) -> tuple[int, int]:
        """Bits of the blocks that pay, and how many must pay, so that the total bytes stay equal."""
        lower = [bits for bits in BITS if bits < scheme.weight_bits]
        gain = (HIGH - scheme.weight_bits) * self.options.block_bits
        if gain <= 0 or not lower or gain % (scheme.weight_bits - lower[-1]):
            raise UserError(f"block_bits = {self.options.block_bits}: cannot be paid for at {scheme}")
        return lower[-1], gain // (scheme.weight_bits - lower[-1])

    def _expected_loss(self, job: Job, blocks: list[str]) -> dict[str, float]:
        """sum_c F[l, c] E[delta^2] by block (FGQ, section 3.1), delta: the block's error when rounded to nearest."""
        fisher = self._fisher(job).sum(2)
        balanced = balance_tasks(fisher, self.options.tasks.split("+"))
        loss = {}
        for stage in job.calibration.stages():
            if stage.name in blocks:
                rounded = {role: job.round(f"{stage.name}.{role}", scheme=job.scheme.dynamic) for role in ROLES}
                block = QuantizedModel(rounded, {}).install(stage.module, execute)
                errors = [
                    (replace(stage, module=block).run(x) - y).float().square().flatten(0, 1).mean(0)
                    for x, y in zip(stage.inputs, stage.outputs, strict=True)
                ]
                loss[stage.name] = (balanced[blocks.index(stage.name)] * torch.stack(errors).mean(0)).sum().item()
            if len(loss) == len(blocks):
                break
        return loss

    def _blocks(self, job: Job) -> list[str]:
        """The aggregator's blocks, all of them: weights do not depend on the scope."""
        return block_names(job.model.linear_groups()["aa"])

    def _fisher(self, job: Job) -> Tensor:
        o = self.options
        return load_or_estimate(job.calibration, self._blocks(job), o.estimator, o.probes, job.seed)
