"""Aggregation: pooled and per-category means, intervals."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.aggregate import bootstrap_counts, summarize
from fgq_bench.tasks.base import Metric, SequencePrediction, SequenceScore, Task


class Toy(Task):
    name = "toy"
    metrics = (Metric("x", "fraction", True),)
    reads: ClassVar[frozenset[str]] = frozenset()
    alignment = "none"
    weighted_by = "pairs"

    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        raise AssertionError


def scores(values: list[float], weights: list[float], categories: str) -> list[SequenceScore]:
    return [
        SequenceScore(str(i), c, w, {"x": v})
        for i, (v, w, c) in enumerate(zip(values, weights, categories, strict=True))
    ]


def test_pooled_and_category_means() -> None:
    result = summarize(Toy(), scores([1, 0, 0.5, 0.5], [3, 1, 1, 1], "aabb"))
    assert result["x"]["value"] == pytest.approx((3 + 0 + 0.5 + 0.5) / 6)
    assert result["x/category"]["value"] == pytest.approx((0.75 + 0.5) / 2)


def test_one_category_has_no_category_mean() -> None:
    assert list(summarize(Toy(), scores([1, 0], [1, 1], "aa"))) == ["x"]


def test_interval_holds_the_value_and_shrinks_with_more_sequences() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 2000):
        entry = summarize(Toy(), scores(list(rng.normal(0.5, 0.1, count)), [1] * count, "a" * count))["x"]
        assert entry["ci_low"] < entry["value"] < entry["ci_high"]
        widths.append(entry["ci_high"] - entry["ci_low"])
    assert widths[1] < widths[0] / 5
    assert widths[1] == pytest.approx(2 * 1.96 * 0.1 / 2000**0.5, rel=0.15)


def test_every_method_gets_the_same_draws() -> None:
    first = bootstrap_counts(17)
    bootstrap_counts.cache_clear()
    assert np.array_equal(first, bootstrap_counts(17))
    assert (bootstrap_counts(17).sum(1) == 17).all()
