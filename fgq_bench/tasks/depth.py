"""Depth: AbsRel, SqRel, RMSE and delta < 1.25 after a named alignment of least squares or medians."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import ClassVar

import torch
import torch.nn.functional as F
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


Align = Callable[[Tensor, Tensor], Tensor]
"""(predicted, true depths over all valid pixels [N]) -> aligned prediction."""


def at_truth(predicted: Tensor, scene: Scene) -> Tensor:
    """Predicted depths [N] at the pixels with valid depth; a map of another size is resized to the truth's (bicubic)."""
    assert scene.depth is not None and scene.mask is not None
    predicted = predicted.double()
    if predicted.shape[-2:] != scene.depth.shape[-2:]:
        size = (scene.depth.shape[-2], scene.depth.shape[-1])
        predicted = torch.cat([F.interpolate(each[None, None], size, mode="bicubic")[0] for each in predicted])
    return predicted[scene.mask]


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


def depth_metrics(alignments: dict[str, Align]) -> tuple[Metric, ...]:
    """Every error under every alignment; the metric's name says which."""
    kinds = (
        ("abs_rel", "fraction", False), ("sq_rel", "metres", False), ("rmse", "metres", False),
        ("delta_1.25", "fraction", True),
    )  # fmt: skip
    return tuple(Metric(f"{name}_{a}", unit, higher) for a in alignments for name, unit, higher in kinds)


class Depth(Task):
    """All frames of a sequence together, under every alignment; ``_none`` etc. in a metric's name say which."""

    name = "depth"
    alignments: ClassVar[dict[str, Align]] = {
        "none": align_none,
        "median": align_median,
        "scale+shift": align_scale_shift,
    }
    metrics = depth_metrics(alignments)
    reads: ClassVar[frozenset[str]] = frozenset({"depth"})
    alignment = "named in each metric: none, median (one scale per sequence), scale+shift (least squares per sequence)"
    weighted_by = "valid pixels"

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Metrics of one sequence over its valid pixels."""
        assert scene.depth is not None and prediction.depth is not None
        truth = scene.depth[scene.mask].double()
        predicted = at_truth(prediction.depth, scene)
        values: dict[str, float] = {}
        for name, align in self.alignments.items():
            errors = depth_errors(align(predicted, truth), truth)
            values |= {f"{metric}_{name}": v if isfinite(v) else LARGE for metric, v in errors.items()}
        return SequenceScore(scene.sequence, scene.category, float(len(truth)), values)
