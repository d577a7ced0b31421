"""From scores per sequence to one value with a bootstrap interval."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgq_bench.tasks.base import SequenceScore, Task

RESAMPLES, LEVEL = 1000, 0.95
PER_CATEGORY = "/category"  # behind a metric's name: the mean of category means
Array = NDArray[np.float64]


@lru_cache(maxsize=16)
def bootstrap_counts(sequences: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each sequence is drawn in each resample [resamples, sequences]; the same for every method, read-only.

    Using the same draws for two methods makes their comparison paired.
    """
    rng = np.random.default_rng([seed, sequences])
    draws = rng.integers(0, sequences, (resamples, sequences))
    counts = np.stack([np.bincount(row, minlength=sequences) for row in draws])
    counts.setflags(write=False)
    return counts


def pooled_mean(values: Array, weights: Array) -> Array:
    """Weighted means [R] of ``values`` [n] under each row of ``weights`` [R, n]."""
    total: Array = weights @ values / weights.sum(-1)
    return total


def category_mean(values: Array, weights: Array, categories: NDArray[np.str_]) -> Array:
    """Unweighted mean over categories of each category's weighted mean [R]; absent categories are left out."""
    means = []
    for category in np.unique(categories):
        members = categories == category
        mass = weights[:, members].sum(-1)
        with np.errstate(invalid="ignore"):
            means.append(weights[:, members] @ values[members] / mass)
    result: Array = np.nanmean(np.stack(means), 0)
    return result


def summarize(task: Task, scores: list[SequenceScore]) -> dict[str, dict[str, Any]]:
    """Every metric of ``task``: value, 95 % interval (percentile bootstrap over sequences), unit, aggregation.

    ``<metric>`` is pooled (weighted by what the task names); ``<metric>/category`` is the mean of category means,
    given only where there is more than one category.
    """
    weights = np.array([score.weight for score in scores])
    categories = np.array([score.category for score in scores])
    rows = np.concatenate([weights[None], bootstrap_counts(len(scores)) * weights])
    result: dict[str, dict[str, Any]] = {}
    for metric in task.metrics:
        values = np.array([score.values[metric.name] for score in scores])
        variants = {metric.name: (pooled_mean(values, rows), f"mean over sequences, weighted by {task.weighted_by}")}
        if len(set(categories)) > 1:
            variants[metric.name + PER_CATEGORY] = (category_mean(values, rows, categories), "mean of category means")
        for name, (samples, aggregation) in variants.items():
            tail = 100 * (1 - LEVEL) / 2
            low, high = np.percentile(samples[1:], [tail, 100 - tail])
            result[name] = {
                "value": float(samples[0]), "ci_low": float(low), "ci_high": float(high), "unit": metric.unit,
                "aggregation": aggregation,
            }  # fmt: skip
    return result
