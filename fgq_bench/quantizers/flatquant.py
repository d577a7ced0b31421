"""FlatQuant: learned Kronecker transforms, channel scales and clipping, block by block (Sun et al., ICML 2025)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from fgq_bench.models.layers import Block, Rotary
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.block_learner import BlockLearner, Exported
from fgq_bench.quantizers.export import export_block
from fgq_bench.quantizers.flatness import SCALED, initial_parameters, quantized_block
from fgq_bench.quantizers.learned_linear import Grids, switch_clipping
from fgq_bench.quantizers.reconstruction import Forward, Schedule
from fgq_bench.quantizers.smoothquant import smoothing_multiplier

INPUTS = dict(zip(SCALED, ("attn.qkv", "mlp.fc1", "mlp.fc2"), strict=True))


class FlatQuantOptions(Quantizer.Options):
    """Schedule of the block reconstruction, and switches of its parts for ablations."""

    epochs: int = Field(15, ge=0)
    batch: int = Field(2, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    clip_learning_rate: float = Field(5e-2, gt=0)
    floor: float = Field(5e-6, ge=0)
    warmup: int = Field(16, ge=0)
    alpha: float = Field(0.5, ge=0, le=1)
    diagonal: bool = True
    lwc: bool = True
    lac: bool = True


class FlatQuant(BlockLearner):
    """Learn every block's transforms with equal weight on all channels."""

    Options = FlatQuantOptions
    options: FlatQuantOptions

    def schedule(self) -> Schedule:
        """See ``BlockLearner``."""
        o = self.options
        return Schedule(o.epochs, o.batch, o.learning_rate, o.clip_learning_rate, o.floor, o.warmup)

    def prepare(self, job: Job, blocks: list[str]) -> torch.Generator:
        """See ``BlockLearner``."""
        job.calibration.capture(job.targets)
        return torch.Generator().manual_seed(job.seed)

    def start(
        self, job: Job, name: str, block: Block, scheme: Scheme, prepared: torch.Generator
    ) -> tuple[dict[str, Tensor], set[str]]:
        """See ``BlockLearner``."""
        o, scales = self.options, {}
        for place, role in INPUTS.items():
            weight = block.get_parameter(f"{role}.weight")
            maximum = job.statistics(f"{name}.{role}").maximum
            scales[place] = smoothing_multiplier(maximum, weight, o.alpha) if o.diagonal else torch.ones_like(maximum)
        parameters = initial_parameters(block, scales, scheme, prepared)
        fixed: set[str] = set() if o.diagonal else {key for key in parameters if key.startswith("scale.")}
        return parameters, fixed | switch_clipping(parameters, scheme, o.lwc, o.lac)

    def forward(self, block: Block, scheme: Scheme) -> Forward:
        """See ``BlockLearner``."""
        grids = Grids.of(scheme, block.norm1.weight.device)

        def run(parameters: dict[str, Tensor], x: Tensor, rotary: Rotary | None) -> Tensor:
            return quantized_block(block, parameters, grids, x, rotary)

        return run

    def export(self, job: Job, name: str, block: Block, parameters: dict[str, Tensor], scheme: Scheme) -> Exported:
        """See ``BlockLearner``."""
        return export_block(job, name, block, parameters, scheme)
