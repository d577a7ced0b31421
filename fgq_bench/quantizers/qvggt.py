"""QVGGT: AWQ-like scales chosen by what the tasks make of them, with protected blocks and a compensation token.

No code is released; everything is from the paper (arXiv:2605.31124) and from the decisions that the card names.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fgq_bench.errors import NotApplicable, UserError
from fgq_bench.models.interface import ReconstructionModel, block_names
from fgq_bench.probing import ProbedStage, probe
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import find_linear
from fgq_bench.quant.transforms import Diagonal
from fgq_bench.quantizers.awq import candidate_scales, search_scale
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.compensation import compensation_token
from fgq_bench.quantizers.scaling import ChannelScaling
from fgq_bench.sensitivity import Sensitivity, measure, most_sensitive, quantized_stage

SHARE = 4 / 48  # of the blocks are protected, rounded up (published: 4 of VGGT-1B's 48)
QUANTIZED = "attn.proj"  # the only linear of a protected block that is quantized, as published for VGGT-1B
PUBLISHED = (
    "aggregator.frame_blocks.14", "aggregator.frame_blocks.17", "aggregator.frame_blocks.23",
    "aggregator.global_blocks.23",
)  # fmt: skip
PUBLISHED_DEPTH = 24


class QVGGT(Quantizer):
    """Protect the blocks to which the camera head is most sensitive; scale, then round all other targets to nearest."""

    class Options(Quantizer.Options):
        """Switches of the paper's parts (S: ``protect``, D: ``patches_only`` and ``compensation``, T: ``search``)."""

        protect: Literal["derived", "published", "none"] = "derived"
        patches_only: bool = True
        compensation: bool = True
        components: int = Field(32, ge=1)
        search: Literal["task", "linear"] = "task"
        grid: int = Field(20, ge=1)
        probe_clips: int = Field(8, ge=1)
        labels: Literal["model", "truth"] = "model"
        camera: float = Field(1.0, ge=0)
        depth: float = Field(0.1, ge=0)
        points: float = Field(0.1, ge=0)
        geometry: float = Field(1.0, ge=0)

        @model_validator(mode="after")
        def _some_loss_counts(self) -> Self:
            if not any((self.camera, self.depth, self.points, self.geometry)):
                raise ValueError("camera, depth, points and geometry: one of them must be above 0")
            return self

    options: Options

    @property
    def uniform(self) -> bool:
        """See ``Quantizer``: linears of protected blocks stay float."""
        return self.options.protect == "none"

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``; raises UserError for a published list that is not this model's, and NotApplicable for a
        compensation token where there are no camera tokens.
        """
        if self.options.compensation and not job.model.has_camera_token:
            raise NotApplicable(
                f"qvggt: {type(job.model).__name__} has no camera tokens to compensate; preset no-token goes without"
            )
        protected = self.protected(job)
        targets = [
            name for name in job.targets
            if not any(name.startswith(f"{block}.") and name != f"{block}.{QUANTIZED}" for block in protected)
        ]  # fmt: skip
        scales = self._scales(job, targets) if job.scheme.quantizes_weights else {}
        scaling = ChannelScaling(job)
        for name, scale in scales.items():
            scaling.add(name, 1 / scale, into_v=name.replace("attn.proj", "attn.qkv") in targets)
        token = None
        if self.options.compensation and not job.scheme.is_float:
            token = compensation_token(job.calibration, self.options.components)
        return job.product({name: scaling.round(name) for name in targets}, scaling.overrides, token)

    def protected(self, job: Job) -> list[str]:
        """Names of the blocks that stay 16-bit but for their ``attn.proj``."""
        aa = job.model.linear_groups()["aa"]
        blocks = block_names(aa)
        if self.options.protect == "none" or job.scheme.is_float:
            return []
        if self.options.protect == "published":
            if len(blocks) != 2 * PUBLISHED_DEPTH or not set(PUBLISHED) <= set(blocks):
                raise UserError("protect = published: the list is VGGT-1B's; use protect = derived for this model")
            return list(PUBLISHED)
        found = measure(job.calibration, aa, job.scheme.dynamic, self.options.probe_clips, linears=False)
        return protected_blocks(job.model, list(found))

    def _scales(self, job: Job, targets: list[str]) -> dict[str, Tensor]:
        """A scale [in] per target."""
        if self.options.search == "task":
            return self._by_task(job, targets)
        found = {}
        for name in targets:
            weight, _ = find_linear(job.model, name)
            statistics = job.statistics(name, self.options.patches_only)
            groups = job.scheme.groups_of(weight.shape[1], name)
            found[name] = search_scale(
                weight, statistics.mean, statistics.hessian, job.scheme, groups, self.options.grid
            )
        return found

    def _by_task(self, job: Job, targets: list[str]) -> dict[str, Tensor]:
        """The candidates with the least task loss on the probe clips, each linear quantized alone.

        What a stage has found is kept, so that an interrupted search goes on where it was.
        """
        found: dict[str, Tensor] = {}
        left = set(targets)
        for stage in probe(job.calibration, self.options.probe_clips, self.options.labels == "truth"):
            inside = [name for name in targets if name.startswith(f"{stage.name}.")]
            place = f"scales/{job.identity}/{stage.name}"
            kept = job.calibration.kept(place) if job.header and job.calibration.holds(place) else {}
            if inside and set(kept) != set(inside):
                kept = {name: self._best(job, stage, name) for name in inside}
                job.calibration.keep(place, kept)
            found |= kept
            left -= set(inside)
            if not left:
                break
        return {name: found[name] for name in targets}

    def _best(self, job: Job, stage: ProbedStage, name: str) -> Tensor:
        o = self.options
        weights = {"camera": o.camera, "depth": o.depth, "points": o.points, "geometry": o.geometry}
        statistics = job.statistics(name)
        mean = statistics.patch_mean if o.patches_only else statistics.mean
        best, least = torch.ones_like(mean), float("inf")
        for scale in candidate_scales(mean, o.grid):
            linear = job.round(name, transforms=[Diagonal(1 / scale)], scheme=job.scheme.dynamic)
            loss = stage.loss(quantized_stage(stage, {name: linear}), weights)
            if loss < least:
                best, least = scale, loss
        if not math.isfinite(least):
            raise UserError(f"{name}: no scale has a finite loss on the probe clips")
        return best


def protected_blocks(model: ReconstructionModel, found: list[Sensitivity]) -> list[str]:
    """The alternating blocks whose quantization harms the camera head most: 4 of 48, rounded up."""
    blocks = block_names(model.linear_groups()["aa"])
    return most_sensitive([each for each in found if each.stage in blocks], "camera", math.ceil(SHARE * len(blocks)))
