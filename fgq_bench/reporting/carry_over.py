"""Does the ranking of methods carry over from one model to another? A table for each data set of a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from fgq_bench.cards import ReportCard
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.statistics import FEWEST_RANKED, Sample, paired_difference, spearman
from fgq_bench.reporting.tables import MISSING, Cell, Row, Table, row_marks

_HEADS = [
    "Scheme", "Metric", "Methods", "Spearman", "Pairs told apart on both", "Same order", "Opposite order",
    "Best on both", "In opposite order",
]  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """How the methods of one scheme compare by one metric on two models."""

    first: dict[str, Sample]  # by the method's label; the second model has the same ones
    second: dict[str, Sample]
    higher_is_better: bool
    best: list[str]  # methods that are among the best in the tables of both models

    def told_apart(self) -> list[tuple[str, str, bool]]:
        """Pairs of methods that are told apart on both models: better on the first, other, whether in the same order."""
        found = []
        for a, b in combinations(self.first, 2):
            here, there = (_difference(side[a], side[b]) for side in (self.first, self.second))
            if here is not None and there is not None:
                better, worse = (a, b) if (here > 0) == self.higher_is_better else (b, a)
                found.append((better, worse, (here > 0) == (there > 0)))
        return found

    def cells(self) -> list[str]:
        """From the number of methods to the pairs in opposite order."""
        here, there = ([each.resampled for each in side.values()] for side in (self.first, self.second))
        order = spearman(here, there)
        pairs = self.told_apart()
        opposite = [f"{better} / {worse}" for better, worse, same in pairs if not same]
        return [
            str(len(self.first)), f"{order.value:z.2f} [{order.low:z.2f}, {order.high:z.2f}]",
            f"{len(pairs)} of {len(self.first) * (len(self.first) - 1) // 2}", str(len(pairs) - len(opposite)),
            str(len(opposite)), ", ".join(self.best) or MISSING, ", ".join(opposite) or MISSING,
        ]  # fmt: skip


def _difference(a: Sample, b: Sample) -> float | None:
    """a - b; None where a paired bootstrap does not tell them apart, or a seed of one lies among those of the other."""
    found = paired_difference(a, b)
    apart = max(a.by_seed) < min(b.by_seed) or max(b.by_seed) < min(a.by_seed)
    return found.value if found.excludes_zero and apart else None


def carry_over(card: ReportCard, dataset: str, first: list[Row], second: list[Row]) -> Table | None:
    """The table of one data set, whose rows on two models are given; None where too few methods have results on both."""
    columns = [Column.parse(text) for text in card.columns]
    models = [rows[0].runs[0].loaded.spec.name for rows in (first, second)]
    body = [
        [Cell(scheme), Cell(column.heading), *map(Cell, found.cells())]
        for scheme, column, found in _agreements(columns, first, second)
    ]
    if not body:
        return None
    title = first[0].runs[0].dataset.card.title
    return Table(
        f"{card.name}-{dataset}-carry-over-{models[1]}",
        f"{title}: does the ranking carry over from {models[0]} to {models[1]}?",
        f"{title}; rows, sequences, seeds and calibration as in the tables of {models[0]} and {models[1]}. Spearman: rank "
        "correlation over the methods of one scheme that have results on both models; brackets: 95 % interval, bootstrap "
        "over sequences, the same draws for both models. A pair is told apart where on both models a paired bootstrap "
        f"does so and all seeds of the one are better than all of the other; in opposite order: the first of the two is better on {models[0]}, the second on {models[1]} "
        "(of pairs that do not differ chance puts 1 in 800 there). Best on both: "
        f"bold in both tables. {_luck(first)}",
        _HEADS,
        body,
    )


def _luck(rows: list[Row]) -> str:
    if any(len(row.runs) > 1 for row in rows):
        return "A method's value is its mean over the seeds; Spearman's intervals do not hold their spread."
    return "One seed: what a random or learned method owes to it is in no interval."


@dataclass(frozen=True)
class _Side:
    """A model's methods by one metric; a method is its scheme and its label."""

    samples: dict[tuple[str, str], Sample]  # of those that have a result
    best: set[tuple[str, str]]  # bold in the model's table

    @classmethod
    def of(cls, rows: list[Row], column: Column) -> _Side:
        samples = [row.sample(column) for row in rows]
        marks = row_marks(rows, samples, column.higher_is_better)
        names = [(str(row.runs[0].scheme), row.asked.label) for row in rows]
        return cls(
            {name: sample for name, sample in zip(names, samples, strict=True) if sample is not None},
            {name for name, mark in zip(names, marks, strict=True) if mark == "best"},
        )


def _agreements(columns: list[Column], first: list[Row], second: list[Row]) -> Iterator[tuple[str, Column, Agreement]]:
    sides = [(column, _Side.of(first, column), _Side.of(second, column)) for column in columns]
    for scheme in dict.fromkeys(str(row.runs[0].scheme) for row in first if not row.runs[0].scheme.is_float):
        for column, here, there in sides:
            both = [name for name in here.samples if name[0] == scheme and name in there.samples]
            if len(both) >= FEWEST_RANKED:
                ours, theirs = ({name[1]: side.samples[name] for name in both} for side in (here, there))
                best = [name[1] for name in both if name in here.best & there.best]
                yield scheme, column, Agreement(ours, theirs, column.higher_is_better, best)
