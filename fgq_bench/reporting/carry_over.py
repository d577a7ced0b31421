"""Does the ranking of methods carry over from one model to another? A table for each data set of a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from fgq_bench.cards import ReportCard
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.statistics import Sample, paired_difference, rank_marks, spearman
from fgq_bench.reporting.tables import MISSING, Cell, Row, Table

FEWEST = 4  # methods whose order is compared
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

    def told_apart(self) -> list[tuple[str, str, bool]]:
        """Pairs of methods that paired bootstraps tell apart on both models: better on the first, other, same order."""
        found = []
        for a, b in combinations(self.first, 2):
            here, there = (paired_difference(side[a], side[b]) for side in (self.first, self.second))
            if here.excludes_zero and there.excludes_zero:
                better, worse = (a, b) if (here.value > 0) == self.higher_is_better else (b, a)
                found.append((better, worse, (here.value > 0) == (there.value > 0)))
        return found

    def best(self) -> list[str]:
        """Methods that are among the best (see ``rank_marks``) on both models."""
        marks = [rank_marks(list(side.values()), self.higher_is_better) for side in (self.first, self.second)]
        return [name for name, *pair in zip(self.first, *marks, strict=True) if set(pair) == {"best"}]

    def cells(self) -> list[str]:
        """From the number of methods to the pairs in opposite order."""
        here, there = ([each.resampled for each in side.values()] for side in (self.first, self.second))
        order = spearman(here, there)
        pairs = self.told_apart()
        opposite = [f"{better} / {worse}" for better, worse, same in pairs if not same]
        return [
            str(len(self.first)), f"{order.value:z.2f} [{order.low:z.2f}, {order.high:z.2f}]",
            f"{len(pairs)} of {len(self.first) * (len(self.first) - 1) // 2}", str(len(pairs) - len(opposite)),
            str(len(opposite)), ", ".join(self.best()) or MISSING, ", ".join(opposite) or MISSING,
        ]  # fmt: skip


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
        "over sequences, the same draws for both models. A pair is told apart where a paired bootstrap does so on either "
        f"model; in opposite order: the first of the two is better on {models[0]}, the second on {models[1]}. Best on both: "
        "bold in both tables.",
        _HEADS,
        body,
    )


def _agreements(columns: list[Column], first: list[Row], second: list[Row]) -> Iterator[tuple[str, Column, Agreement]]:
    quantized = [(a, b) for a, b in zip(first, second, strict=True) if not a.runs[0].scheme.is_float]
    for scheme in dict.fromkeys(str(a.runs[0].scheme) for a, _ in quantized):
        for column in columns:
            both: dict[str, tuple[Sample, Sample]] = {}
            for a, b in quantized:
                here, there = a.sample(column), b.sample(column)
                if str(a.runs[0].scheme) == scheme and here is not None and there is not None:
                    both[a.asked.label] = here, there
            if len(both) >= FEWEST:
                sides = [{name: pair[side] for name, pair in both.items()} for side in (0, 1)]
                yield scheme, column, Agreement(sides[0], sides[1], column.higher_is_better)
