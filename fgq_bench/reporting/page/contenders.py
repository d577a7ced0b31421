"""Which rows of a report are looked at side by side: full precision, RTN and the best method at each scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fgq_bench.cards import ReportCard
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.statistics import Sample, interval, rank_marks
from fgq_bench.reporting.tables import Row

PREFERRED: Final = "agreement.points"  # the ranking column, where the report has it; else its first
BASELINE: Final = "rtn"


@dataclass(frozen=True)
class Contenders:
    """The rows shown at one scheme, each with what a reader must know of it."""

    scheme: str
    shown: list[tuple[Row, str]]


def contenders(card: ReportCard, rows: list[Row]) -> list[Contenders]:
    """Every scheme at which the report has an RTN row, in its order."""
    column = Column.parse(PREFERRED if PREFERRED in card.columns else card.columns[0])
    floats = [(row, "full precision") for row in rows if row.runs[0].scheme.is_float]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if not row.runs[0].scheme.is_float:
            groups.setdefault(row.asked.scheme, []).append(row)
    return [
        Contenders(scheme, [*floats[:1], *_rtn_and_best(members, column)])
        for scheme, members in groups.items()
        if any(_is_rtn(row) for row in members)
    ]


def _is_rtn(row: Row) -> bool:
    return row.asked.label == BASELINE


def _rtn_and_best(rows: list[Row], column: Column) -> list[tuple[Row, str]]:
    samples = {row.asked.text: row.sample(column) for row in rows}
    rtn = next(row for row in rows if _is_rtn(row))
    shown = [(rtn, "round to nearest" + _value(column, samples[rtn.asked.text]))]
    marks = dict(zip(samples, rank_marks(list(samples.values()), column.higher_is_better), strict=True))
    tied = [row for row in rows if marks[row.asked.text] == "best"]
    if not tied:
        return shown
    best = min(tied, key=lambda row: _worse(column, samples[row.asked.text]))
    others = [row.asked.text for row in tied if row is not best]
    note = f"best{_value(column, samples[best.asked.text])}"
    note += f"; not told from it: {', '.join(others)}" if others else ""
    return [(rtn, f"round to nearest, {note}")] if best is rtn else [*shown, (best, note)]


def _worse(column: Column, sample: Sample | None) -> float:
    assert sample is not None, "only rows with a sample are marked"
    value = interval(sample).value
    return -value if column.higher_is_better else value


def _value(column: Column, sample: Sample | None) -> str:
    return "" if sample is None else f", {column.heading} {column.cell(interval(sample))}"
