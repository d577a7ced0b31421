"""Intervals, paired comparisons and marks."""

from __future__ import annotations

import numpy as np
import pytest

from fgq_bench.errors import UserError
from fgq_bench.reporting.statistics import Sample, interval, paired_difference, rank_marks, sample_of
from fgq_bench.results import Result


def sample(values: np.ndarray, names: str = "s") -> Sample:
    count = len(values)
    labels = tuple(f"{names}{i}" for i in range(count))
    return Sample(labels, values, np.ones(count), np.array(["c"] * count), False, (0.0,))


def noise(seed: int, count: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.2, count)


def test_paired_comparison_sees_what_separate_intervals_hide() -> None:
    shared = 0.5 + noise(0)
    a, b = sample(shared + 0.01), sample(shared + 0.005 * noise(1))
    assert interval(a).low < interval(b).high  # the intervals overlap
    difference = paired_difference(a, b)
    assert difference.excludes_zero
    assert difference.value == pytest.approx(0.01, abs=1e-3)


def test_difference_of_equals_is_zero() -> None:
    a = sample(noise(0))
    difference = paired_difference(a, a)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert not difference.excludes_zero


def test_false_alarms_are_rare() -> None:
    alarms = [paired_difference(sample(noise(2 * i)), sample(noise(2 * i + 1))).excludes_zero for i in range(200)]
    assert 0 < sum(alarms) < 24  # 10 expected at 95 %


def test_different_sequences_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="different sequences"):
        paired_difference(sample(noise(0)), sample(noise(0), "t"))


def test_marks_best_with_its_ties_then_second() -> None:
    shared = 0.5 + noise(0)
    methods = [sample(shared - 0.2), sample(shared), sample(shared + 0.01 * noise(1)), sample(shared - 0.1), None]
    assert rank_marks(list(methods), True) == ["", "best", "best", "second", ""]
    assert rank_marks(list(methods), False) == ["best", "", "", "second", ""]
    assert rank_marks([methods[0], None], True) == ["", ""]


def result(values: list[float]) -> Result:
    rows = [{"sequence": f"s{i}", "category": "ab"[i % 2], "weight": 1.0 + i, "x": v} for i, v in enumerate(values)]
    value = float(np.average(np.array(values), weights=1.0 + np.arange(len(values))))
    entry = {"value": value}
    return Result("accuracy", "k", {}, "ok", metrics={"x": entry, "x/category": entry}, sequences=rows)


def test_seeds_are_repeats() -> None:
    two = sample_of([result([0.0, 1.0]), result([1.0, 1.0])], "x")
    assert two.values.tolist() == [0.5, 1.0]
    assert interval(two).value == pytest.approx((0.5 * 1 + 1.0 * 2) / 3)
    assert two.seed_spread == pytest.approx(np.std([2 / 3, 1], ddof=1))


def test_one_category_is_its_own_mean() -> None:
    one = result([0.0, 1.0])
    del one.metrics["x/category"]
    for row in one.sequences:
        row["category"] = "a"
    assert interval(sample_of([one], "x/category")).value == interval(sample_of([one], "x")).value


def test_category_mean() -> None:
    assert interval(sample_of([result([0.0, 1.0, 0.5, 0.5])], "x/category")).value == pytest.approx(
        ((0 * 1 + 0.5 * 3) / 4 + (1 * 2 + 0.5 * 4) / 6) / 2
    )
