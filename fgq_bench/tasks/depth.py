"""Depth: AbsRel, SqRel, RMSE and delta < 1.25 after a named alignment."""

from __future__ import annotations

from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import LARGE, Metric, SequencePrediction, SequenceScore, Task


def align_none(predicted: Tensor, truth: Tensor) -> Tensor:
    """The prediction as it is."""
    return predicted


def align_median(predicted: Tensor, truth: Tensor) -> Tensor:
    """One scale per sequence: the ratio of the medians over all valid pixels [N]."""
    return predicted * (truth.median() / predicted.median())


def align_scale_shift(predicted: Tensor, truth: Tensor) -> Tensor:
    """One scale and shift per sequence: least squares over all valid pixels [N]."""
    mean_p, mean_t = predicted.mean(), truth.mean()
    centred = predicted - mean_p
    scale = (centred * (truth - mean_t)).sum() / centred.square().sum().clamp(min=1e-12)
    return scale * (predicted - mean_p) + mean_t


ALIGNMENTS = {"none": align_none, "median": align_median, "scale+shift": align_scale_shift}


def depth_errors(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """Metrics of aligned depths over valid pixels [N]; truth in metres. A prediction <= 0 never counts as correct."""
    relative = (predicted - truth).abs() / truth
    ratio = torch.maximum(predicted / truth, truth / predicted.clamp(min=1e-6))
    return {
        "abs_rel": relative.mean().item(),
        "sq_rel": ((predicted - truth).square() / truth).mean().item(),
        "rmse": (predicted - truth).square().mean().sqrt().item(),
        "delta_1.25": ((ratio < 1.25) & (predicted > 0)).double().mean().item(),
    }


class Depth(Task):
    """All frames of a sequence together, under every alignment; ``_none`` etc. in a metric's name say which."""

    name = "depth"
    metrics = tuple(
        Metric(f"{name}_{alignment}", unit, higher)
        for alignment in ALIGNMENTS
        for name, unit, higher in (
            ("abs_rel", "fraction", False),
            ("sq_rel", "metres", False),
            ("rmse", "metres", False),
            ("delta_1.25", "fraction", True),
        )
    )
    reads: ClassVar[frozenset[str]] = frozenset({"depth"})
    alignment = "named in each metric: none, median (one scale per sequence), scale+shift (least squares per sequence)"
    weighted_by = "valid pixels"

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence over its valid pixels."""
        assert scene.depth is not None and scene.mask is not None and prediction.depth is not None
        truth = scene.depth[scene.mask].double()
        predicted = prediction.depth.double()[scene.mask]
        values: dict[str, float] = {}
        for name, align in ALIGNMENTS.items():
            errors = depth_errors(align(predicted, truth), truth)
            values |= {f"{metric}_{name}": v if isfinite(v) else LARGE for metric, v in errors.items()}
        return SequenceScore(scene.sequence, scene.category, float(len(truth)), values)
