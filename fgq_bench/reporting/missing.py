"""What reports lack: cells that are not stored and what they would cost, columns and rows that nothing here can fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fgq_bench.cards import ReportCard
from fgq_bench.errors import UserError
from fgq_bench.planning import Run
from fgq_bench.registry import find_method
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.pace import Pace
from fgq_bench.reporting.papers.layout import FULL_PRECISION, Layout, PaperColumn, PaperRow, layout
from fgq_bench.reporting.papers.measures import Sources, frames_of, measure_of
from fgq_bench.reporting.papers.tables import stored_sizes
from fgq_bench.reporting.reports import (
    arguments_of,
    folders_missing,
    plain_parts,
    plan_reports,
    read_places,
    root_options,
)
from fgq_bench.reporting.rows import RowText
from fgq_bench.results import Store


@dataclass(frozen=True)
class Gap:
    """Something that a report does not show."""

    report: str
    what: str
    why: str  # the reason, or the command that fills it
    cells: int = 0
    sequences: int = 0  # to predict
    hours: float | None = None  # None: nothing comparable is stored

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def find_gaps(cards: list[ReportCard], store: Store, limit: int | None, roots: dict[str, Path]) -> list[Gap]:
    """Every gap of ``cards``; a cell that several of them lack is counted in the first one.

    Hours come from how long stored runs of the same model, method and task took here, compilation included where they
    compiled: an upper bound for most.
    """
    pace = Pace.read(store)
    seen: set[str] = set()
    return [gap for card in cards for gap in _gaps(card, store, limit, roots, pace, seen)]


def _gaps(
    card: ReportCard, store: Store, limit: int | None, roots: dict[str, Path], pace: Pace, seen: set[str]
) -> Iterator[Gap]:
    if card.not_here:
        yield Gap(card.name, "the whole table", card.not_here)
        return
    runs: list[Run] = []
    if absent := folders_missing(card, roots):
        needs = root_options(absent)
        yield Gap(card.name, f"rows on {', '.join(absent)}", f"needs {needs}; see datasets/README.md", _asked(card))
    else:
        try:
            ((_, runs),) = plan_reports([card], limit, roots=roots)
        except UserError as error:  # weights or a manifest that are not there
            yield Gap(card.name, "all rows", str(error), _asked(card))
    yield from _cells(card, runs, store, pace, seen)
    if card.published is not None:
        sizes = stored_sizes(read_places(card, runs, store)) if runs else {}
        yield from _unmeasured(layout(card), Sources.read(layout(card), store, sizes))
        yield from _unmeasurable(layout(card))


def _asked(card: ReportCard) -> int:
    """How many cells a report asks for: rows, seeds of random methods, tasks."""
    cells = 0
    for part in plain_parts(card):
        tasks = {Column.parse(text).task for text in part.columns}
        rows = [RowText.parse(card.name, text) for text in part.rows]
        runs = sum(len(row.seeds(part.seeds)) if find_method(row.method).is_random else 1 for row in rows)
        cells += runs * len(tasks) * len(part.datasets)
    return cells


def _cells(card: ReportCard, runs: list[Run], store: Store, pace: Pace, seen: set[str]) -> Iterator[Gap]:
    """Scores that are not stored, as one gap; ``seen`` are the keys that other reports lack, too."""
    todo: list[tuple[Run, list[str]]] = []
    for run in runs:
        lacking = [
            cell for cell in run.cells() if cell.key not in seen and store.get(cell, run.dataset.sequences()) is None
        ]
        seen.update(cell.key for cell in lacking)
        if lacking:
            todo.append((run, [cell.conditions["task"]["name"] for cell in lacking]))
    if not todo:
        return
    yield Gap(
        card.name, _list(run.label for run, _ in todo), f"fgq-bench run-all {arguments_of(card)}",
        sum(len(tasks) for _, tasks in todo), sum(len(run.dataset.sequences()) for run, _ in todo),
        pace.hours(todo),
    )  # fmt: skip


def _unmeasured(found: Layout, sources: Sources) -> Iterator[Gap]:
    """Times, bytes and costs that can be measured and are not: one gap for every verb that measures them."""
    lacking: dict[str, list[tuple[PaperRow, PaperColumn, RowText]]] = {}
    for row, column in ((row, column) for row in found.rows for column in found.columns):
        measure = measure_of(column)
        if row.text is None or measure is None or found.cell(row, column) is None or row.text == FULL_PRECISION:
            continue
        text = RowText.parse(found.card.name, row.text)
        if measure.read(sources, column, text) is None:
            manifest = text.calibration or found.card.calibration
            verb = measure.verb + (f" --calibration {manifest}" if manifest else "")
            lacking.setdefault("" if text.options else verb, []).append((row, column, text))
    for verb, cells in lacking.items():
        what = _list(f"{_label(row)}: {_name(column)}" for row, column, _ in cells)
        yield Gap(
            found.card.name, what, _command(found.card, verb, cells) if verb else "rows with options are not timed"
        )


def _command(card: ReportCard, verb: str, cells: list[tuple[PaperRow, PaperColumn, RowText]]) -> str:
    """The call of ``verb`` that measures all of ``cells``, every method at every scheme."""
    options = [("-m", text.method) for _, _, text in cells] + [("-b", text.scheme) for _, _, text in cells]
    frames = [frames_of(column) for _, column, _ in cells]
    options += [("--frames", str(each)) for each in frames if each is not None]
    asked = " ".join(f"{option} {value}" for option, value in dict.fromkeys(options))
    return f"fgq-bench {verb} --model {card.model} --scope {card.scope} {asked}"


def _unmeasurable(found: Layout) -> Iterator[Gap]:
    """Rows and columns of the paper that have no counterpart here."""
    columns = [_name(each) for each in found.columns if each.column is None and measure_of(each) is None]
    if columns:
        yield Gap(found.card.name, _list(columns), "no counterpart here: printed only")
    rows = [_label(row) for row in found.rows if row.text is None]
    if rows:
        yield Gap(found.card.name, _list(rows), "no method of this project: printed only")


def _list(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _name(column: PaperColumn) -> str:
    return f"{column.first.printed.dataset}, {column.heading}"


def _label(row: PaperRow) -> str:
    return f"{row.method} {row.bits}"
