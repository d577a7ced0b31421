"""Noise-Filtered Diverse Sampling (QuantVGGT, NFDS): scores, filters, clusters and picks, on plain arrays.

The paper leaves the scores' outliers out, clusters what is left and draws from every cluster. The released code
computes another filter (``fence_scores``), prints what it would reject and clusters everything.
"""

from __future__ import annotations

import random
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq

Floats = NDArray[np.float64]
FENCE = 1.5  # interquartile ranges beyond the quartiles that still count as usual
SMALLEST_GROUP = 4  # candidates of a data set below which its quartiles say nothing: none is rejected
RESTARTS = 50


def z_scores(mean: Floats, variance: Floats, eps: float = 1e-12) -> Floats:
    """The paper's score [N]: squared z-scores of both statistics [N, layers] over the pool, summed over the layers."""
    statistics = np.concatenate([mean, variance], 1)
    z = (statistics - statistics.mean(0)) / np.sqrt(statistics.var(0) + eps)
    return np.asarray((z**2).sum(1))


def fence_scores(statistics: Floats, groups: NDArray[np.int64]) -> Floats:
    """How far each candidate lies outside its group's quartiles, in interquartile ranges: the worst statistic, [N].

    Args:
        statistics: [N, statistics].
        groups: [N], data set of each candidate; groups of fewer than ``SMALLEST_GROUP`` candidates score 0.
    """
    scores = np.zeros(len(statistics))
    for group in np.unique(groups):
        inside = groups == group
        if inside.sum() < SMALLEST_GROUP:
            continue
        x = statistics[inside]
        low, high = np.quantile(x, (0.25, 0.75), axis=0)
        outside = np.maximum(np.maximum(low - x, x - high), 0)
        scores[inside] = (outside / np.maximum(high - low, np.finfo(np.float64).tiny ** 0.5)).max(1)
    return scores


def count_kept(candidates: int, share: float, keep: bool) -> int:
    """Candidates that ``reject_share`` keeps."""
    part = round(share * candidates)
    return part if keep else candidates - part


def reject_share(scores: Floats, share: float, keep: bool) -> NDArray[np.bool_]:
    """Which candidates [N] are rejected: the ``share`` of the highest scores, or with ``keep`` all but the lowest.

    The paper's "keep the lowest p %" can be read both ways (spec: quantvggt, 2.1); its p = 0.2 discards a fifth, or
    keeps one.
    """
    rejected = np.ones(len(scores), dtype=np.bool_)
    rejected[np.argsort(scores, kind="stable")[: count_kept(len(scores), share, keep)]] = False
    return rejected


def cluster(vectors: Floats, count: int, seed: int) -> NDArray[np.int64]:
    """K-means of ``vectors`` [N, D]: labels [N], 0 for the largest cluster; the best of ``RESTARTS`` seeded runs.

    There are fewer clusters than ``count`` where there are fewer distinct vectors, or where one is left empty.
    """
    rng = np.random.default_rng(seed)
    count = min(count, len(np.unique(vectors, axis=0)))
    best, labels = np.inf, np.zeros(len(vectors), dtype=np.int64)
    for _ in range(RESTARTS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty cluster: it ends up last and without a number
            centres, _ = kmeans2(vectors, count, iter=100, minit="++", seed=rng)
        found, distances = vq(vectors, centres)
        inertia = float((distances**2).sum())
        if inertia < best:
            best, labels = inertia, found.astype(np.int64)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-np.bincount(labels, minlength=count), kind="stable")] = np.arange(count)
    return rank[labels]


def pick(labels: NDArray[np.int64], count: int, rng: random.Random) -> list[int]:
    """Draw ``count`` candidates, the same number from each cluster; returns indices into ``labels``.

    The remainder comes from the largest clusters, one each. A cluster that is too small gives all that it has; what is
    missing is drawn from whatever is left, all clusters together. With a single cluster this is a uniform draw.

    Args:
        labels: [N], 0 for the largest cluster; -1 for candidates that are out.
        count: at most the number of candidates that are not out.
        rng: source of the draws.
    """
    each, rest = divmod(count, int(labels.max()) + 1)
    chosen: list[int] = []
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label).tolist()
        chosen += rng.sample(members, min(each + (label < rest), len(members)))
    left = sorted({*np.flatnonzero(labels >= 0).tolist()} - {*chosen})
    return chosen + rng.sample(left, count - len(chosen))
