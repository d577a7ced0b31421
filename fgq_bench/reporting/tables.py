"""Build a report's tables: one per data set, rows = method and scheme, columns = metrics with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from fgq_bench.cards import ReportCard
from fgq_bench.errors import UserError
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.reporting.columns import Column, megabytes
from fgq_bench.results import Result, Store

MISSING, FAILED = "–", "failed"


@dataclass
class Table:
    """A table of text cells with what a reader must know to read it."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    columns: list[Column]


def report_runs(card: ReportCard, loaded: LoadedModel, limit: int | None, device: str = "cpu") -> list[Run]:
    """The runs whose cells a report shows, data set by data set; raises UserError for a row that cannot be planned."""
    columns = [Column.parse(text) for text in card.columns]
    tasks = list(dict.fromkeys(column.task for column in columns))
    runs: list[Run] = []
    for dataset in card.datasets:
        for row in card.rows:
            method, _, scheme = row.partition(" ")
            if not scheme:
                raise UserError(f"report {card.name}: row {row!r} is not of the form 'METHOD[:PRESET] SCHEME'")
            request = Request(
                [method], [scheme], [dataset], tasks, card.model, None, [card.scope], limit=limit, device=device
            )
            runs += plan(request, loaded)
    return runs


def build_tables(card: ReportCard, runs: list[Run], store: Store) -> tuple[list[Table], list[Result], list[Result]]:
    """Tables of ``card``, the results in them, and the cells that are not stored."""
    columns = [Column.parse(text) for text in card.columns]
    tables, used, missing = [], [], []
    for dataset in card.datasets:
        rows = []
        shown = None
        for run in (run for run in runs if run.dataset.card.name == dataset):
            cells = {cell.conditions["task"]["name"]: cell for cell in run.cells()}
            stored = {task: store.get(cell) for task, cell in cells.items()}
            found = [result for result in stored.values() if result is not None]
            used += found
            missing += [cell for task, cell in cells.items() if stored[task] is None]
            rows.append(_row(run, columns, stored))
            shown = shown or run
        assert shown is not None
        frame = pd.DataFrame(rows)
        tables.append(Table(f"{card.name}-{dataset}", shown.dataset.card.title, _caption(card, shown), frame, columns))
    return tables, used, missing


def _row(run: Run, columns: list[Column], stored: dict[str, Result | None]) -> dict[str, str]:
    row = {"Method": run.method.card.title + (f" ({run.method.preset})" if run.method.preset else "")}
    row["Scheme"] = "full precision" if run.scheme.is_float else str(run.scheme)
    for column in columns:
        result = stored[column.task]
        text = MISSING if result is None else FAILED if result.status == "failed" else column.cell(result.metrics)
        row[f"{column.title} {column.arrow}"] = text
    sized = next((result for result in stored.values() if result is not None and result.bytes), None)
    row["MB"] = megabytes(sized) if sized else MISSING
    row["vs bf16"] = f"{sized.bytes['total_bf16'] / sized.bytes['total']:.2f}x" if sized else MISSING
    return row


def _caption(card: ReportCard, run: Run) -> str:
    dataset, spec = run.dataset, run.loaded.spec
    return (
        f"{dataset.card.title}: model {spec.name} ({spec.compute_dtype}), {len(dataset.sequences())} sequences, "
        f"protocol: {dataset.card.protocol}; scope {card.scope}; backend reference (exact integer arithmetic, "
        "emulated in floating point: no speed claim); seed 0; brackets: 95 % bootstrap interval over sequences. "
        "Depth after one median scale per sequence; agreement (Δ) is against full precision on the same frames. "
        "MB: packed codes, fp32 scales, bf16 for all else."
    )
