"""Methods that learn block by block: one pass over the float model, every block reconstructed on its own.

A subclass says what of a block is learned, how the rounded block computes with it, and what becomes of it in the
artefact. What a block has learned is kept with the calibration, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from fgq_bench.calibration.stream import Stage
from fgq_bench.models.interface import block_names
from fgq_bench.models.layers import Block
from fgq_bench.models.precision import in_float32
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.reconstruction import Forward, Schedule, reconstruct

Exported = tuple[dict[str, QuantLinear], dict[str, Tensor]]  # quantized linears and changed float tensors, by name


class BlockLearner(Quantizer):
    """Learns every transformer block all of whose linears are targets; other targets are rounded to nearest."""

    @abstractmethod
    def schedule(self) -> Schedule:
        """How long and how fast to learn."""

    @abstractmethod
    def prepare(self, job: Job, blocks: list[str]) -> Any:
        """What ``start`` needs of all ``blocks`` together, before the pass: statistics, random numbers."""

    @abstractmethod
    def start(
        self, job: Job, name: str, block: Block, scheme: Scheme, prepared: Any
    ) -> tuple[dict[str, Tensor], set[str]]:
        """Parameters of ``block``, called ``name``, before training, and the names of those that are not learned."""

    @abstractmethod
    def forward(self, block: Block, scheme: Scheme) -> Forward:
        """The rounded block as a function of its parameters."""

    @abstractmethod
    def export(self, job: Job, name: str, block: Block, parameters: dict[str, Tensor], scheme: Scheme) -> Exported:
        """The learned block in the artefact."""

    def channel_weights(self, job: Job, stage: Stage) -> Tensor:
        """Weights of the squared output error of a block [tokens or 1, C]: ones."""
        return torch.ones(1, stage.inputs[0].shape[-1], device=stage.inputs[0].device)

    def schemes(self, job: Job) -> dict[str, Scheme]:
        """Schemes of blocks that differ from the job's, by the block's name: none."""
        return {}

    def stages(self, job: Job) -> Iterator[Stage]:
        """The pass whose inputs and outputs the blocks learn from."""
        return job.calibration.stages()

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        linears: dict[str, QuantLinear] = {}
        overrides: dict[str, Tensor] = {}
        blocks = block_names(job.targets)
        prepared = self.prepare(job, blocks)
        schemes = self.schemes(job)
        for block in find_blocks(self.stages(job), blocks):
            made, changed = self._fit(job, block, schemes.get(block.name, job.scheme), prepared)
            linears |= made
            overrides |= changed
        rest = [name for name in job.targets if not any(name.startswith(f"{block}.") for block in blocks)]
        return job.product(linears | {name: job.round(name) for name in rest}, overrides)

    def _fit(self, job: Job, stage: Stage, scheme: Scheme, prepared: Any) -> Exported:
        assert isinstance(stage.module, Block)
        block = in_float32(stage.module)
        parameters, fixed = self.start(job, stage.name, block, scheme, prepared)
        place = f"blocks/{job.identity}/{stage.name}"
        if job.header and job.calibration.holds(place):  # an interrupted run had come this far
            parameters = job.calibration.kept(place)
        elif not scheme.is_float:
            forward, weights = self.forward(block, scheme), self.channel_weights(job, stage)
            reconstruct(forward, parameters, fixed, stage, weights, self.schedule())
            job.calibration.keep(place, parameters)
        return self.export(job, stage.name, block, parameters, scheme)


def find_blocks(stages: Iterator[Stage], names: Iterable[str]) -> Iterator[Stage]:
    """The blocks called ``names`` as a pass comes to them; it ends with the last, and never begins if there are none."""
    left = set(names)
    for stage in stages if left else ():
        for block in stage.blocks():
            if block.name in left:
                yield block
                left.discard(block.name)
        if not left:
            return
