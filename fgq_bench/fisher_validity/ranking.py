"""Do rankings agree with what was measured? Spearman correlations with intervals, on the same resamples for all.

Intervals are 95 % percentile bootstraps over clips and, where channels were drawn from a block, over its channels as
well; blocks are not resampled: they are all there are. Two controls belong to every table: ``permuted``, a ranking
shuffled anew in every resample (its interval is what chance alone gives), and ``CEILING``, the damage measured on one
half of the clips as a ranking of the damage on the other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from fgq_bench.fisher_validity.injection import Degradation
from fgq_bench.fisher_validity.predictors import PERMUTED
from fgq_bench.tasks.aggregate import LEVEL, bootstrap_counts

Array = NDArray[np.float64]
CEILING = "other half of the clips"
OCTILES = 8


@dataclass(frozen=True)
class Ranked:
    """Every ranking against every measure; the first axis of a sample is the value itself, then the resamples."""

    names: list[str]  # rankings, then ``permuted``, then ``CEILING``
    correlation: Array  # [1 + R, rankings, measures] within blocks, mean over blocks
    octiles: Array  # [1 + R, rankings, measures, OCTILES] damage by rank, over the block's mean, mean over blocks
    blocks: Array  # [measures] blocks that the means are over: those where noise moves the measure at all

    def of(self, name: str) -> Array:
        """Correlations [1 + R, measures] of one ranking."""
        return self.correlation[:, self.names.index(name)]


def spearman(a: Array, b: Array) -> Array:
    """Rank correlation [...] along the last axis; 0 where either is constant."""
    x, y = (ranks - ranks.mean(-1, keepdims=True) for ranks in (rankdata(a, axis=-1), rankdata(b, axis=-1)))
    scale = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    result: Array = np.divide((x * y).sum(-1), scale, out=np.zeros(scale.shape), where=scale > 0)
    return result


def interval(samples: Array) -> tuple[float, float, float]:
    """Value, lower and upper end of ``samples`` [1 + R]."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples[1:], [tail, 100 - tail])
    return float(samples[0]), float(low), float(high)


def rank_channels(predictors: dict[str, Array], damage: Degradation, width: int) -> Ranked:
    """Within every block: rankings [blocks, C] against the damage that noise in single channels does.

    Args:
        width: C; where fewer channels than that were disturbed, they are a sample and resampled.
    """
    channels = damage.channels.numpy()
    chosen = np.stack([np.take_along_axis(values, channels, 1) for values in predictors.values()])  # [P, L, n]
    measured = damage.by_channel.mean(2).numpy()  # [L, n, clips, M]
    blocks, count, clips, _ = measured.shape
    rng = np.random.default_rng(0)
    weights = np.concatenate([np.ones((1, clips), dtype=np.int64), bootstrap_counts(clips)])
    moved = (measured.max((1, 2)) > 0).T  # [M, L]; where nothing moves, there is nothing to rank
    share = moved / moved.sum(-1, keepdims=True).clip(min=1)
    share[~moved.any(-1)] = 1 / blocks
    correlation, octiles = [], []
    for index, row in enumerate(weights):
        drawn = np.tile(np.arange(count), (blocks, 1))
        if index and count < width:
            drawn = rng.integers(0, count, (blocks, count))
        halves = _halves(clips, index > 0, rng)
        total, *parts = (np.take_along_axis(_mean(measured, each), drawn[..., None], 1) for each in (row, *halves))
        rankings = np.take_along_axis(chosen, drawn[None], 2)
        rankings = np.concatenate([rankings, rng.permuted(rankings[:1], axis=2)])  # [P + 1, L, n]
        wanted = np.moveaxis(total, -1, 0)  # [M, L, n]
        found = (spearman(rankings[:, None], wanted[None]) * share).sum(-1)
        ceiling = (spearman(*(np.moveaxis(part, -1, 0) for part in parts)) * share).sum(-1)
        correlation.append(np.concatenate([found, ceiling[None]]))
        octiles.append(_by_octile(rankings, total, share))
    names = [*predictors, PERMUTED, CEILING]
    return Ranked(names, _chance(np.stack(correlation), -2), _chance(np.stack(octiles), -1), moved.sum(-1))


def rank_blocks(predictors: dict[str, Array], damage: Degradation) -> Ranked:
    """Across blocks: a block's total [blocks, C] against the damage that equal noise in all its channels does."""
    totals = np.stack([values.sum(1) for values in predictors.values()])  # [P, L]
    measured = damage.by_block.mean(1).numpy()  # [L, clips, M]
    clips = measured.shape[1]
    rng = np.random.default_rng(0)
    weights = np.concatenate([np.ones((1, clips), dtype=np.int64), bootstrap_counts(clips)])
    correlation = []
    for index, row in enumerate(weights):
        rankings = np.concatenate([totals, rng.permuted(totals[:1], axis=1)])
        total, *parts = (_mean(measured, each).T for each in (row, *_halves(clips, index > 0, rng)))
        found = spearman(rankings[:, None], total[None])
        correlation.append(np.concatenate([found, spearman(*parts)[None]]))
    names, count = [*predictors, PERMUTED, CEILING], np.full(measured.shape[-1], len(measured))
    return Ranked(names, _chance(np.stack(correlation), -2), np.zeros(0), count)


def _mean(measured: Array, weights: NDArray[np.int64]) -> Array:
    """Weighted mean over the clips, the last axis but one."""
    mean: Array = np.einsum("...cm,c->...m", measured, weights / weights.sum())
    return mean


def _halves(clips: int, resample: bool, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Weights of two halves of the clips, split at random; each is resampled within itself."""
    parts = np.array_split(rng.permutation(clips), 2)
    drawn = [rng.choice(part, len(part)) if resample else part for part in parts]
    return [np.bincount(part, minlength=clips) for part in drawn]


def _by_octile(rankings: Array, total: Array, share: Array) -> Array:
    """Damage [P, M, OCTILES] ``total`` [L, n, M] of the channels from the lowest rank to the highest; ``share`` [M, L]:
    the blocks' weights.
    """
    mean = np.broadcast_to(total.mean(1, keepdims=True), total.shape)
    relative = np.divide(total, mean, out=np.ones(total.shape), where=mean > 0)  # nothing moves: all equal
    order = np.argsort(rankings, axis=-1, kind="stable")
    parts = np.array_split(order, OCTILES, axis=-1)
    means = [
        np.einsum("plm,ml->pm", np.take_along_axis(relative[None], part[..., None], 2).mean(2), share) for part in parts
    ]
    return np.stack(means, -1)


def _chance(samples: Array, permuted: int) -> Array:
    """The value of ``permuted`` (place on the second axis) is one draw of many; the mean over all is put in its place."""
    samples[0, permuted] = samples[1:, permuted].mean(0)
    return samples
