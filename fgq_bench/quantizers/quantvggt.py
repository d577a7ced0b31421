"""QuantVGGT: every input rotated, then scaled channel by channel; scales and clipping learned (arXiv:2509.21302).

Paper and released code differ; both are presets. The card names what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fgq_bench.calibration.stream import Stage
from fgq_bench.models.interface import ROLES
from fgq_bench.models.layers import Block, Rotary, at_least_float32
from fgq_bench.models.watching import watched_inputs
from fgq_bench.quant.linear import QuantLinear, find_linear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Hadamard, Transform
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.block_learner import BlockLearner, Exported, find_blocks
from fgq_bench.quantizers.dual_smoothing import initial_parameters, rotation_factors, smoothed_block
from fgq_bench.quantizers.export import LearnedClipping
from fgq_bench.quantizers.learned_linear import Grids, input_clip, switch_clipping, weight_clip
from fgq_bench.quantizers.reconstruction import Forward, Schedule
from fgq_bench.quantizers.scaling import norm_before, scaled_norm
from fgq_bench.quantizers.smoothquant import smoothing_multiplier

MOMENTUM = 0.95  # of the released code's running maximum
SHARE = 5  # which takes the first fifth of the clips


@dataclass(frozen=True)
class Prepared:
    """What the start of every block needs."""

    rotations: dict[str, Hadamard]  # by linear; empty without rotation
    maxima: dict[str, Tensor]  # by linear: max |x_j| [in] of the input that is scaled


class QuantVGGT(BlockLearner):
    """Dual-smoothed quantization (DSFQ): ``order`` of rotation and scale, either may be off."""

    class Options(Quantizer.Options):
        """Schedule of the block reconstruction, switches of the parts, and where paper and released code differ.

        ``weight_maximum``: of the weight as it is scaled, or always of the plain one (released code). ``maximum``:
        over all clips, or the released code's running mean over the first fifth. ``cross_frame``: False reproduces
        the released code's fault of handing global blocks one frame at a time.
        """

        epochs: int = Field(15, ge=0)
        batch: int = Field(1, ge=1)
        learning_rate: float = Field(5e-3, gt=0)
        clip_learning_rate: float = Field(5e-2, gt=0)
        floor: float = Field(1e-6, ge=0)
        weight_decay: float = Field(0.0, ge=0)
        alpha: float = Field(0.5, ge=0, le=1)
        rotation: bool = True
        scale: bool = True
        order: Literal["rotate-scale", "scale-rotate"] = "rotate-scale"
        lwc: bool = True
        lac: bool = True
        weight_maximum: Literal["scaled", "plain"] = "scaled"
        maximum: Literal["all", "running"] = "all"
        cross_frame: bool = True

    options: Options

    @property
    def random(self) -> bool:
        """See ``Quantizer``: only the rotation is."""
        return self.options.rotation

    @property
    def _scale_first(self) -> bool:
        return self.options.order == "scale-rotate"

    def schedule(self) -> Schedule:
        """See ``BlockLearner``: plain squared error, no warm-up."""
        o = self.options
        return Schedule(
            o.epochs, o.batch, o.learning_rate, o.clip_learning_rate, o.floor, decay=o.weight_decay, relative=False
        )

    def stages(self, job: Job) -> Iterator[Stage]:
        """See ``BlockLearner``."""
        return job.calibration.stages(self.options.cross_frame)

    def prepare(self, job: Job, blocks: list[str]) -> Prepared:
        """See ``BlockLearner``: random signs, then (if inputs are scaled) one pass for the inputs' maxima."""
        generator, rotations = torch.Generator().manual_seed(job.seed), {}
        if self.options.rotation:
            for name in (f"{block}.{role}" for block in blocks for role in ROLES):
                width = find_linear(job.model, name)[0].shape[1]
                rotations[name] = Hadamard.random(width, generator).to(job.model.device)
        maxima: dict[str, Tensor] = {}
        for block in find_blocks(job.calibration.stages(), blocks if self.options.scale else ()):
            found = _largest(block, {} if self._scale_first else rotations)
            maxima |= {name: self._maximum(torch.stack(each)) for name, each in found.items()}
        return Prepared(rotations, maxima)

    def _maximum(self, largest: Tensor) -> Tensor:
        """max |x_j| [in] of what every clip and frame reaches [clips, batch, in]."""
        if self.options.maximum == "all":
            return largest.amax((0, 1))
        early = largest[: max(1, len(largest) // SHARE)].mean(1)
        running = early[0]
        for each in early[1:]:
            running = MOMENTUM * running + (1 - MOMENTUM) * each
        return running

    def start(
        self, job: Job, name: str, block: Block, scheme: Scheme, prepared: Prepared
    ) -> tuple[dict[str, Tensor], set[str]]:
        """See ``BlockLearner``."""
        o = self.options
        scales, signs = {}, {}
        for role in ROLES:
            linear, weight = f"{name}.{role}", block.get_parameter(f"{role}.weight")
            scales[role] = torch.ones_like(weight[0])
            if o.rotation:
                signs[role] = prepared.rotations[linear].signs
                if o.weight_maximum == "scaled" and not self._scale_first:
                    weight = prepared.rotations[linear](weight)
            if o.scale:
                scales[role] = 1 / smoothing_multiplier(prepared.maxima[linear], weight, o.alpha)
        parameters = initial_parameters(block, scales, signs, scheme)
        fixed = {key for key in parameters if key.startswith("signs.")}
        if not o.scale:
            fixed |= {key for key in parameters if key.startswith("scale.")}
        return parameters, fixed | switch_clipping(parameters, scheme, o.lwc, o.lac)

    def forward(self, block: Block, scheme: Scheme) -> Forward:
        """See ``BlockLearner``."""
        device = block.norm1.weight.device
        grids, factors = Grids.of(scheme, device), {}
        if self.options.rotation:
            factors = {role: rotation_factors(block.get_parameter(f"{role}.weight").shape[1], device) for role in ROLES}

        def run(parameters: dict[str, Tensor], x: Tensor, rotary: Rotary | None) -> Tensor:
            return smoothed_block(block, parameters, factors, self._scale_first, grids, x, rotary)

        return run

    def export(self, job: Job, name: str, block: Block, parameters: dict[str, Tensor], scheme: Scheme) -> Exported:
        """See ``BlockLearner``. A scale that comes before any rotation folds into a LayerNorm where there is one;
        one behind a rotation stays online (the paper says that it folds; a rotation and a diagonal do not commute).
        """
        linears: dict[str, QuantLinear] = {}
        overrides: dict[str, Tensor] = {}
        for index, role in enumerate(ROLES):
            linear = f"{name}.{role}"
            weight, bias = find_linear(job.model, linear)
            multiplier = 1 / parameters[f"scale.{role}"].detach().double()
            signs, norm = parameters.get(f"signs.{role}"), norm_before(linear)
            transforms: list[Transform] = [] if signs is None else [Hadamard(signs)]
            if self.options.scale and norm is not None and (signs is None or self._scale_first):
                overrides |= scaled_norm(job.model, norm, multiplier)
                weight = (weight.double() / multiplier).to(weight.dtype)
            elif self.options.scale:
                transforms.insert(0 if self._scale_first else len(transforms), Diagonal(multiplier))
            clip = torch.stack(input_clip(parameters, index)).detach() if scheme.quantizes_activations else None
            linears[linear] = job.round(
                linear, weight, bias, transforms=transforms, act_clip=clip,
                rounder=LearnedClipping(weight_clip(parameters, role)), scheme=scheme,
            )  # fmt: skip
        return linears, overrides


def _largest(stage: Stage, rotations: dict[str, Hadamard]) -> dict[str, list[Tensor]]:
    """max |x_j| over tokens [batch, in] of every linear's input, rotated where it has a rotation, clip by clip."""
    found: dict[str, list[Tensor]] = {f"{stage.name}.{role}": [] for role in ROLES}

    def watch(name: str, x: Tensor) -> None:
        with torch.autocast(x.device.type, enabled=False):  # this runs inside that of the pass
            x = at_least_float32(x.detach())
            x = rotations[name](x) if name in rotations else x
            found[name].append(x.abs().amax(1))

    with watched_inputs(stage.linears(found), watch):
        stage.outputs  # noqa: B018
    return found
