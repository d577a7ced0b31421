"""Statistics of stored results: intervals, and paired comparisons of two methods on the same sequences.

Every interval is a percentile bootstrap over sequences with the same draws for every method, so "A against B"
compares A and B on identical resamples. Seeds are repeats: a sequence's value is its mean over the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from fgq_bench.errors import UserError
from fgq_bench.results import Result
from fgq_bench.tasks.aggregate import LEVEL, PER_CATEGORY, bootstrap_counts, category_mean, pooled_mean

Array = NDArray[np.float64]
FEWEST_RANKED = 4  # methods: the order of fewer says little


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Sample:
    """One metric of one method, sequence by sequence."""

    names: tuple[str, ...]
    values: Array  # [n], means over seeds
    weights: Array  # [n]
    categories: NDArray[np.str_]  # [n]
    by_category: bool
    by_seed: tuple[float, ...]  # the aggregate of each

    @property
    def seed_spread(self) -> float:
        """Standard deviation over seeds of the aggregate; 0 with one seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else 0.0

    @cached_property
    def resampled(self) -> Array:
        """The aggregate itself, then under every resample [1 + R]."""
        rows = np.concatenate([self.weights[None], bootstrap_counts(len(self.values)) * self.weights])
        if self.by_category:
            return category_mean(self.values, rows, self.categories)
        return pooled_mean(self.values, rows)


def sample_of(results: list[Result], metric: str) -> Sample:
    """The sample of ``metric`` (``/category`` appended: mean of category means) from one result per seed."""
    name, by_category = metric.removesuffix(PER_CATEGORY), metric.endswith(PER_CATEGORY)
    names = [tuple(row["sequence"] for row in result.sequences) for result in results]
    if len(set(names)) != 1:
        raise UserError(f"{results[0].path()}: its seeds were scored on different sequences")
    table = np.array([[row[name] for row in result.sequences] for result in results])
    rows = results[0].sequences
    weights = np.array([row["weight"] for row in rows], dtype=np.float64)
    categories = np.array([row["category"] for row in rows])
    aggregates = tuple(result.metrics.get(metric, result.metrics[name])["value"] for result in results)
    return Sample(names[0], table.mean(0), weights, categories, by_category, aggregates)


def interval(sample: Sample) -> Interval:
    """The aggregate with its interval."""
    return percentiles(sample.resampled)


def paired_difference(a: Sample, b: Sample) -> Interval:
    """a - b on the same resamples; raises UserError where they were scored on different sequences."""
    if a.names != b.names:
        raise UserError("two results were scored on different sequences and cannot be compared")
    return percentiles(a.resampled - b.resampled)


def percentiles(samples: Array) -> Interval:
    """The first of ``samples`` [1 + R], with the interval that the others span."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples[1:], [tail, 100 - tail])
    return Interval(float(samples[0]), float(low), float(high))


def spearman(first: list[Array], second: list[Array]) -> Interval:
    """Rank correlation over methods of two quantities (each [1 + R], or [1] without resamples), with its interval.

    Ties have mean ranks; 0 where either side is one single tie.
    """
    a, b = (rankdata(np.stack(side), axis=0) for side in (first, second))
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return percentiles(np.divide((a * b).sum(0), scale, out=np.zeros_like(scale), where=scale > 0))


def rank_marks(samples: list[Sample | None], higher_is_better: bool) -> list[str]:
    """``best``, ``second`` or nothing for each of several methods.

    All that the interval does not tell from the best one are ``best`` together; of the others, the best one and
    all that cannot be told from it are ``second``. Fewer than two methods are not ranked.
    """
    marks = [""] * len(samples)
    present = [index for index, sample in enumerate(samples) if sample is not None]
    if len(present) < 2:
        return marks
    sign = 1.0 if higher_is_better else -1.0
    values = {index: sign * float(samples[index].resampled[0]) for index in present}  # type: ignore[union-attr]
    left = sorted(present, key=lambda index: -values[index])
    for mark in ("best", "second"):
        if not left:
            break
        leader = samples[left[0]]
        tied = [left[0], *(i for i in left[1:] if not _differ(leader, samples[i]))]
        for index in tied:
            marks[index] = mark
        left = [index for index in left if index not in tied]
    return marks


def _differ(a: Sample | None, b: Sample | None) -> bool:
    return a is not None and b is not None and paired_difference(a, b).excludes_zero
