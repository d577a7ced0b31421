"""Build a report's tables: one per data set, its rows those of the card, columns = metrics with intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from fgq_bench.cards import ReportCard
from fgq_bench.errors import UserError
from fgq_bench.numerics import in_words
from fgq_bench.planning import LoadedModel, Opened, Request, Run, plan
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.rows import RowText
from fgq_bench.reporting.statistics import Sample, interval, rank_marks, sample_of
from fgq_bench.results import Result, Store
from fgq_bench.tasks.registry import find_task

MISSING, FAILED, NOT_APPLICABLE = "–", "failed", "n/a"


@dataclass(frozen=True)
class Cell:
    """Text with a mark: ``best``, ``second`` or nothing."""

    text: str
    mark: str = ""


@dataclass
class Table:
    """A table with what a reader must know to read it."""

    name: str
    title: str
    caption: str
    heads: list[str]
    rows: list[list[Cell]]

    @property
    def frame(self) -> pd.DataFrame:
        """The bare texts."""
        return pd.DataFrame([[cell.text for cell in row] for row in self.rows], columns=self.heads)


@dataclass
class Row:
    """A row of a report on one data set, with its stored results by task (one per seed)."""

    asked: RowText
    runs: list[Run]
    results: dict[str, list[Result]]
    missing: list[Result]
    computed_on: frozenset[str] = frozenset()  # machines, as far as it is noted beside the results

    @classmethod
    def read(cls, asked: RowText, runs: list[Run], store: Store) -> Row:
        """Look up every cell of ``runs`` (the seeds of one row)."""
        results: dict[str, list[Result]] = {}
        missing, machines = [], set[str]()
        for run, cell in ((each, cell) for each in runs for cell in each.cells()):
            stored = store.get(cell, run.dataset.sequences())
            if stored is None:
                missing.append(cell)
            else:
                results.setdefault(cell.conditions["task"]["name"], []).append(stored)
                about = store.computed_on(stored)
                machines |= set() if about is None else {in_words(about)}
        return cls(asked, runs, results, missing, frozenset(machines))

    @property
    def manifest(self) -> str | None:
        """Name of the calibration manifest, None where nothing is calibrated."""
        clips = self.runs[0].clips
        return None if clips is None else clips.manifest.name

    def sample(self, column: Column) -> Sample | None:
        """The column's sample; None unless every seed is stored and succeeded."""
        found = self.results.get(column.task, [])
        if len(found) < len(self.runs) or any(result.status != "ok" for result in found):
            return None
        return sample_of(found, column.metric)

    def text(self, column: Column, sample: Sample | None) -> str:
        """What the cell shows."""
        if sample is not None:
            spread = f" ±{column.show(sample.seed_spread)}" if len(self.runs) > 1 else ""
            return column.cell(interval(sample)) + spread
        statuses = {result.status for result in self.results.get(column.task, [])}
        return FAILED if "failed" in statuses else NOT_APPLICABLE if "not applicable" in statuses else MISSING

    def size(self) -> tuple[str, str]:
        """MB (10^6 bytes) and the ratio to bf16."""
        sizes = next((r.bytes for found in self.results.values() for r in found if r.bytes), None)
        if sizes is None:
            return MISSING, MISSING
        return f"{sizes['total'] / 1e6:.2f}", f"{sizes['total_bf16'] / sizes['total']:.2f}x"


def report_runs(
    card: ReportCard,
    loaded: LoadedModel,
    limit: int | None,
    device: str = "cpu",
    roots: dict[str, Path] | None = None,
    opened: Opened | None = None,
    elsewhere: bool = False,
) -> list[Run]:
    """The runs whose cells a report shows, data set by data set; raises UserError for a row that cannot be planned.

    ``opened``: see ``plan``; ``elsewhere``: see ``Request``.
    """
    opened = {} if opened is None else opened
    columns = [Column.parse(text) for text in card.columns]
    tasks = list(dict.fromkeys(column.task for column in columns))
    if twice := next((row for row in card.rows if card.rows.count(row) > 1), None):
        raise UserError(f"report {card.name}: row {twice!r} is listed twice")
    runs: list[Run] = []
    for dataset in card.datasets:
        for text in card.rows:
            row = RowText.parse(card.name, text)
            request = Request(
                [row.method], [row.scheme], [dataset], tasks, card.model, None, [card.scope], row.seeds(card.seeds),
                card.backend, row.overrides(), roots or {}, card.protocol, limit or card.sequences, device,
                row.calibration or card.calibration, elsewhere,
            )  # fmt: skip
            planned = plan(request, loaded, opened)
            if row.calibration and planned[0].clips is None:
                raise UserError(f"report {card.name}: row {text!r}: is not calibrated, so it takes no @CALIBRATION")
            runs += [replace(run, row=text) for run in planned]
    return runs


def read_rows(card: ReportCard, runs: list[Run], store: Store) -> dict[str, list[Row]]:
    """Rows by data set; the runs of one text, seeds, are one row."""
    grouped: dict[str, dict[str, list[Run]]] = {dataset: {text: [] for text in card.rows} for dataset in card.datasets}
    for run in runs:
        assert run.row is not None, "report_runs says which row asks for a run"
        grouped[run.dataset.card.name][run.row].append(run)
    return {
        dataset: [Row.read(RowText.parse(card.name, text), seeds, store) for text, seeds in rows.items()]
        for dataset, rows in grouped.items()
    }


def build_table(card: ReportCard, rows: list[Row]) -> Table:
    """The table of ``rows``, which ``read_rows`` gave for one data set of ``card``."""
    columns = [Column.parse(text) for text in card.columns]
    shown = rows[0].runs[0]
    heads = ["Method", "Scheme"]
    body = [[Cell(_method(row)), Cell(_scheme(row.runs[0]))] for row in rows]
    if len(manifests_of(rows)) > 1:
        heads.append("Calibration")
        for line, row in zip(body, rows, strict=True):
            line.append(Cell(row.manifest or MISSING))
    heads += [*(column.heading for column in columns), "MB", "vs bf16"]
    for column in columns:
        samples = [row.sample(column) for row in rows]
        marks = row_marks(rows, samples, column.higher_is_better)
        for line, row, sample, mark in zip(body, rows, samples, marks, strict=True):
            line.append(Cell(row.text(column, sample), mark))
    for line, row in zip(body, rows, strict=True):
        line += [Cell(text) for text in row.size()]
    return Table(
        f"{card.name}-{shown.dataset.card.name}", shown.dataset.card.title, _caption(card, rows, columns), heads, body
    )


def row_marks(rows: list[Row], samples: list[Sample | None], higher: bool) -> list[str]:
    """``best``, ``second`` or nothing: methods compete with those at the same scheme, full precision does not compete."""
    marks = [""] * len(rows)
    schemes = {str(row.runs[0].scheme) for row in rows if not row.runs[0].scheme.is_float}
    for scheme in schemes:
        members = [index for index, row in enumerate(rows) if str(row.runs[0].scheme) == scheme]
        for index, mark in zip(members, rank_marks([samples[i] for i in members], higher), strict=True):
            marks[index] = mark
    return marks


def _method(row: Row) -> str:
    method = row.runs[0].method
    changes = ", ".join([*([method.preset] if method.preset else []), *row.asked.options])
    return method.card.title + (f" ({changes})" if changes else "")


def manifests_of(rows: list[Row]) -> list[str]:
    """Names of the calibration manifests of ``rows``, each once."""
    return list(dict.fromkeys(row.manifest for row in rows if row.manifest))


def _scheme(run: Run) -> str:
    return "–" if run.scheme.is_float else str(run.scheme)


def _caption(card: ReportCard, rows: list[Row], columns: list[Column]) -> str:
    tasks = {column.task for column in columns}
    resolution = " Δ is against full precision; cached in fp16, Δ depth and Δ points resolve about 0.05 %."
    return (
        f"{rows[0].runs[0].dataset.card.title}. {conditions(card, rows, columns)} Brackets: 95 % interval, "
        "bootstrap over sequences. Bold: best at its scheme, with all that a paired bootstrap does not tell from it; "
        f"underlined: second.{resolution if 'agreement' in tasks else ''} MB: packed codes, fp32 scales, bf16 for all "
        "else; no speed is claimed."
    )


def conditions(card: ReportCard, rows: list[Row], columns: list[Column]) -> str:
    """What a reader must know of the cells of one data set: model, sequences, scope, seeds, calibration, alignment."""
    run = rows[0].runs[0]
    dataset, spec = run.dataset, run.loaded.spec
    seeds = ", ".join(map(str, sorted({each.seed for row in rows for each in row.runs})))
    if any(len(row.runs) > 1 for row in rows):
        seeds += " (±: standard deviation over them; a method without randomness runs once)"
    manifests = manifests_of(rows)
    calibration = f"calibration {', '.join(manifests)}; " if manifests else ""
    tasks = dict.fromkeys(column.task for column in columns)
    alignments = "; ".join(f"{name}: {find_task(name).alignment}" for name in tasks)
    count = f"{'first ' if dataset.limit else ''}{len(dataset.sequences())} sequences"
    absent = {result.error for row in rows for found in row.results.values() for result in found if result.status == "not applicable"}  # fmt: skip
    skipped = {one["sequence"] for row in rows for found in row.results.values() for result in found for one in result.skipped}  # fmt: skip
    count += f" ({len(skipped)} left out as bad data)" if skipped else ""
    notes = sorted({note for row in rows for found in row.results.values() for result in found for note in result.notes})  # fmt: skip
    count += f" (of a copy with {len(notes)} remarks, the first: {notes[0]})" if notes else ""
    return (
        f"Model {spec.name} ({spec.compute_dtype}); {count}, protocol: {dataset.setting.protocol}; "
        f"scope {card.scope}; seeds {seeds}; {calibration}backend {card.backend}. Alignment: {alignments}."
        + _machines(rows)
        + "".join(f" n/a: {reason}." for reason in sorted(filter(None, absent)))
    )


def _machines(rows: list[Row]) -> str:
    """A sentence on what the results were computed on: with other instructions or threads their last bits differ."""
    found = sorted({machine for row in rows for machine in row.computed_on})
    if not found:
        return ""
    unequal = f" on {len(found)} machines that round differently" if len(found) > 1 else " on"
    return f" Computed{unequal}{':' if len(found) > 1 else ''} {'; '.join(found)}."
