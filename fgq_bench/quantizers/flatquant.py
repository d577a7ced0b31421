"""FlatQuant: learned Kronecker transforms, channel scales and clipping, block by block (Sun et al., ICML 2025)."""

from __future__ import annotations

import hashlib
import json
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from fgq_bench.calibration.stream import Stage
from fgq_bench.models.interface import ROLES
from fgq_bench.models.layers import Block
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.export import export_block
from fgq_bench.quantizers.flatness import SCALED, Grids, initial_parameters, quantized_block
from fgq_bench.quantizers.reconstruction import Schedule, reconstruct
from fgq_bench.quantizers.smoothquant import smoothing_multiplier

INPUTS = dict(zip(SCALED, ("attn.qkv", "mlp.fc1", "mlp.fc2"), strict=True))
OFF = float("inf")  # a clipping logit: sigmoid 1


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

    def schedule(self) -> Schedule:
        """For the trainer."""
        return Schedule(self.epochs, self.batch, self.learning_rate, self.clip_learning_rate, self.floor, self.warmup)


class FlatQuant(Quantizer):
    """Learn every block's transforms with equal weight on all channels; linears outside blocks are rounded.

    What a block has learned is kept with the calibration, so that an interrupted run goes on where it was.
    """

    Options = FlatQuantOptions
    options: FlatQuantOptions

    def channel_weights(self, job: Job, stage: Stage) -> Tensor:
        """Weights of the squared output error of a block [tokens or 1, C]: ones."""
        return torch.ones(1, stage.inputs[0].shape[-1], device=stage.inputs[0].device)

    def schemes(self, job: Job) -> dict[str, Scheme]:
        """Schemes of blocks that differ from the job's, by the block's name: none."""
        return {}

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        linears: dict[str, QuantLinear] = {}
        overrides: dict[str, Tensor] = {}
        blocks = block_names(job.targets)
        job.calibration.capture(job.targets)
        schemes, left = self.schemes(job), set(blocks)
        generator = torch.Generator().manual_seed(job.seed)
        for stage in job.calibration.stages() if left else ():
            for inner in stage.blocks():
                if inner.name in left:
                    scheme = schemes.get(inner.name, job.scheme)
                    made, changed = self._fit(job, inner, scheme, generator)
                    linears |= made
                    overrides |= changed
                    left.discard(inner.name)
            if not left:
                break
        rest = [name for name in job.targets if not any(name.startswith(f"{block}.") for block in blocks)]
        return job.product(linears | {name: job.round(name) for name in rest}, overrides)

    def _fit(
        self, job: Job, stage: Stage, scheme: Scheme, generator: torch.Generator
    ) -> tuple[dict[str, QuantLinear], dict[str, Tensor]]:
        block, o = stage.module, self.options
        assert isinstance(block, Block)
        scales = {}
        for name, role in INPUTS.items():
            weight = block.get_parameter(f"{role}.weight")
            maximum = job.statistics(f"{stage.name}.{role}").maximum
            scales[name] = smoothing_multiplier(maximum, weight, o.alpha) if o.diagonal else torch.ones_like(maximum)
        parameters = initial_parameters(block, scales, scheme, generator)
        fixed: set[str] = set() if o.diagonal else {name for name in parameters if name.startswith("scale.")}
        lwc, lac = o.lwc and scheme.quantizes_weights, o.lac and scheme.quantizes_activations
        for on, prefix in ((lwc, "weight_clip"), (lac, "input_clip")):
            if not on:
                off = [name for name in parameters if name.startswith(prefix)]
                parameters |= {name: torch.full_like(parameters[name], OFF) for name in off}
                fixed |= set(off)
        place = f"blocks/{_identity(job)}/{stage.name}"
        if job.header and job.calibration.holds(place):  # an interrupted run had come this far
            parameters = job.calibration.kept(place)
        elif not scheme.is_float:
            forward = partial(_forward, block, Grids.of(scheme, job.model.device))
            reconstruct(forward, parameters, fixed, stage, self.channel_weights(job, stage), o.schedule())
            job.calibration.keep(place, parameters)
        return export_block(job, stage.name, block, parameters, scheme)


def _forward(block: Block, grids: Grids, parameters: dict[str, Tensor], x: Tensor, rotary: object) -> Tensor:
    return quantized_block(block, parameters, grids, x, rotary)  # type: ignore[arg-type]


def _identity(job: Job) -> str:
    """Of the compilation: everything that decides the outcome is in the header."""
    return hashlib.sha256(json.dumps(job.header, sort_keys=True, default=str).encode()).hexdigest()[:16]


def block_names(targets: list[str]) -> list[str]:
    """Names of the transformer blocks all of whose linears are among ``targets``, in order."""
    found = dict.fromkeys(name.removesuffix(f".{ROLES[0]}") for name in targets if name.endswith(f".{ROLES[0]}"))
    return [block for block in found if all(f"{block}.{role}" in targets for role in ROLES)]
