"""Dots and intervals of rank correlations: what the template draws, places in per cent of a chart's width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fgq_bench.fisher import ESTIMATORS
from fgq_bench.fisher_validity.predictors import PERMUTED, VARIANCE
from fgq_bench.fisher_validity.ranking import CEILING
from fgq_bench.fisher_validity.summary import Row
from fgq_bench.reporting.fisher_validity import HEADS

OWN, ALL = "own task", "all tasks"
KINDS = (OWN, "own task by token noise", ALL)  # what of an estimator a ranking is by
LOOKS: Final = {
    **dict(zip(ESTIMATORS, ("k0", "k1", "k2"), strict=True)), VARIANCE: "k3", PERMUTED: "chance", CEILING: "k6",
}  # fmt: skip
EDGE = 2.0  # per cent of the width left free on both sides
STEP = 0.5  # between ticks


@dataclass(frozen=True)
class Dot:
    """A correlation with its interval."""

    name: str
    look: str  # style class
    text: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One measure of damage."""

    measure: str
    title: str
    dots: list[Dot]


@dataclass(frozen=True)
class Scale:
    """Correlations to per cent of the width, from ``low`` to 1."""

    low: float

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Scale:
        """From 0, or half a step or more below, so that every interval is inside."""
        lowest = min(cell["ci_low"] for row in rows for cell in row.values())
        return cls(min(0.0, STEP / 2 * (lowest // (STEP / 2))))

    def place(self, value: float) -> float:
        """Per cent, to a hundredth."""
        return round(EDGE + (100 - 2 * EDGE) * (value - self.low) / (1 - self.low), 2)

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """Text and place."""
        values = [index * STEP for index in range(-2, 3) if index * STEP >= self.low]
        return [(f"{value:g}", self.place(value)) for value in values]


def ordered(rows: dict[str, Row]) -> dict[str, Row]:
    """Rows by estimator, then the controls (the file has them in alphabetical order)."""

    def place(name: str) -> tuple[int, int]:
        family, _, kind = name.partition(", ")
        return list(LOOKS).index(family), KINDS.index(kind) if kind in KINDS else 0

    return {name: rows[name] for name in sorted(rows, key=place)}


def panels(rows: dict[str, Row], scale: Scale) -> list[Panel]:
    """One panel per measure, one dot per ranking."""
    return [
        Panel(measure, title, [_dot(name, row[measure], scale) for name, row in rows.items()])
        for measure, title in HEADS.items()
    ]


def _dot(name: str, cell: dict[str, float], scale: Scale) -> Dot:
    at, low, high = (scale.place(cell[key]) for key in ("value", "ci_low", "ci_high"))
    return Dot(name, LOOKS[name.partition(", ")[0]], f"{cell['value']:z.2f}", at, low, high)
