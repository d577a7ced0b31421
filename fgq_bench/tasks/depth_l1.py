"""Depth after alignments of least absolute deviations, as MonST3R's evaluation of KITTI has them (spec: fgq, 4.4)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fgq_bench.tasks.depth import Align, Depth, depth_metrics

STEPS, SMALLEST = 100, 1e-6  # of the reweighting; metres: residuals below it weigh the same


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """The value [] of ``values`` [N] below and above which at most half of ``weights`` [N] lies."""
    order = values.argsort()
    passed = weights[order].cumsum(0)
    return values[order][int(torch.searchsorted(passed, passed[-1] / 2))]


def align_l1_scale(predicted: Tensor, truth: Tensor) -> Tensor:
    """One scale per sequence that minimises sum |scale * predicted - truth|: exact, as a weighted median of ratios."""
    useful = predicted.abs() > SMALLEST
    if not (useful.any() and predicted.isfinite().all()):
        return predicted
    return predicted * weighted_median(truth[useful] / predicted[useful], predicted[useful].abs())


def align_l1_scale_shift(predicted: Tensor, truth: Tensor) -> Tensor:
    """One scale and shift per sequence that minimise sum |scale * predicted + shift - truth|.

    Iteratively reweighted least squares (the toolkit: 1000 steps of Adam, which need not have converged).
    """
    weights = torch.ones_like(predicted)
    fitted = predicted
    for _ in range(STEPS):
        total = weights.sum()
        mean_p, mean_t = (weights * predicted).sum() / total, (weights * truth).sum() / total
        centred = predicted - mean_p
        spread = (weights * centred.square()).sum().clamp(min=1e-12)
        before, fitted = fitted, (weights * centred * (truth - mean_t)).sum() / spread * centred + mean_t
        if float((fitted - before).abs().max()) < SMALLEST:
            break
        weights = 1 / (fitted - truth).abs().clamp(min=SMALLEST)
    return fitted


class DepthL1(Depth):
    """All frames of a sequence together, aligned by least absolute deviations; the metric's name says how."""

    name = "depth-l1"
    alignments: ClassVar[dict[str, Align]] = {"scale": align_l1_scale, "scale+shift": align_l1_scale_shift}
    metrics = depth_metrics(alignments)
    alignment = "named in each metric: scale, scale+shift; one per sequence, least absolute deviations"
