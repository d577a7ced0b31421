"""What the scatter plot draws: every report's rows, each numeric column of its table an axis, measured times beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fgq_bench.planning import Run
from fgq_bench.reporting.page.numbers import WITHOUT_VALUE, Measured, read_column
from fgq_bench.reporting.page.section import Section
from fgq_bench.reporting.page.tables import scheme_of
from fgq_bench.reporting.page.timings import timings_of
from fgq_bench.reporting.reports import Built
from fgq_bench.reporting.tables import Table
from fgq_bench.results import Result


def scatter_section(reports: Sequence[Built], latency: Sequence[Result]) -> Section:
    """One set of points for every plain report, model and data set in which something is measured."""
    found = [
        _points(f"{report.card.title}: {each.table.title}", each.table, [row.runs[0] for row in each.rows], latency)
        for report in reports
        for each in report.sections
    ]
    sets = [each for each in found if each["axes"]]
    missing = "" if sets else "No accuracy result is stored. fgq-bench run-all makes them."
    return Section("scatter", "Accuracy, bytes, latency", data=sets, missing=missing)


def _points(title: str, table: Table, runs: list[Run], latency: Sequence[Result]) -> dict[str, Any]:
    columns = [(head, "", [row[index].text for row in table.rows]) for index, head in enumerate(table.heads)]
    words = [texts for _, _, texts in columns if read_column(texts) is None]
    columns += [(each.label, each.note, list(each.texts)) for each in timings_of(runs, latency)]
    axes: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = [
        {"name": _name(words, place), "scheme": scheme_of(row), "values": []} for place, row in enumerate(table.rows)
    ]
    for label, note, texts in columns:
        numbers = read_column(texts)
        if numbers is not None:
            axes.append({"label": label, "note": note})
            for row, number, text in zip(rows, numbers, texts, strict=True):
                row["values"].append(_point(number, text))
    return {"title": title, "conditions": table.caption, "axes": axes, "rows": rows}


def _name(words: list[list[str]], place: int) -> str:
    """What the columns without numbers say of a row."""
    return ", ".join(texts[place] for texts in words if texts[place] not in WITHOUT_VALUE)


def _point(number: Measured | None, text: str) -> list[float | str | None] | None:
    return None if number is None else [number.value, number.low, number.high, text]
