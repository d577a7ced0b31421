"""Ranking in the style of critical-difference diagrams: mean ranks, joined where a paired bootstrap sees no difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from fgq_bench.reporting.figures.saving import new_figure, save_figure
from fgq_bench.reporting.statistics import Sample
from fgq_bench.reporting.writing import File
from fgq_bench.tasks.aggregate import LEVEL, bootstrap_counts


def mean_ranks(samples: dict[str, Sample], higher_is_better: bool) -> tuple[list[str], np.ndarray]:
    """Names, best first, and their mean ranks over sequences: the value, then every resample [1 + R, methods]."""
    values = np.stack([sample.values for sample in samples.values()], 1)
    ranks = rankdata(-values if higher_is_better else values, axis=1)  # [sequences, methods]
    counts = np.concatenate([np.ones((1, len(ranks))), bootstrap_counts(len(ranks))])
    means = counts @ ranks / len(ranks)
    order = np.argsort(means[0], kind="stable")
    return [list(samples)[index] for index in order], means[:, order]


def cliques(means: np.ndarray) -> list[tuple[int, int]]:
    """Longest runs (first, last) of neighbouring methods whose ends the bootstrap does not tell apart."""
    tail = 100 * (1 - LEVEL) / 2
    count = means.shape[1]
    found: list[tuple[int, int]] = []
    for first in range(count):
        last = first
        for other in range(first + 1, count):
            low, high = np.percentile(means[1:, other] - means[1:, first], [tail, 100 - tail])
            if low <= 0 <= high:
                last = other
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return found


def draw_ranking(samples: dict[str, Sample], higher_is_better: bool, title: str, stem: Path) -> list[File]:
    """Draw mean ranks with 95 % intervals; bars on the left join what cannot be told apart."""
    names, means = mean_ranks(samples, higher_is_better)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(means[1:], [tail, 100 - tail], axis=0)
    figure, axes = new_figure(1, 1, 5.0, 0.9 + 0.33 * len(names))
    axis, rows = axes[0][0], np.arange(len(names))
    axis.errorbar(means[0], rows, xerr=np.abs(np.stack([low, high]) - means[0]), fmt="o", capsize=3, color="#0072b2")
    step = 0.02 * float(high.max() - low.min())
    for index, (first, last) in enumerate(cliques(means)):
        x = float(low.min()) - step * (index + 2)
        axis.plot([x, x], [first - 0.2, last + 0.2], color="black", linewidth=3, solid_capstyle="butt")
    axis.set_yticks(rows, names)
    axis.invert_yaxis()
    axis.set_xlabel("mean rank over sequences (bars join what is not told apart)", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, stem)
