"""What reports lack: cells that are not stored and what they would cost, columns and rows that nothing here can fill."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fgq_bench.cards import DatasetCard, ReportCard, load_card
from fgq_bench.compiling import artifact_path
from fgq_bench.errors import UserError
from fgq_bench.planning import Run
from fgq_bench.reporting.papers.layout import FULL_PRECISION, Layout, PaperColumn, PaperRow, layout
from fgq_bench.reporting.papers.measures import Sources, frames_of, measure_of
from fgq_bench.reporting.papers.tables import stored_sizes
from fgq_bench.reporting.reports import arguments_of, plain_parts, plan_reports, read_places
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


def folders_missing(card: ReportCard, roots: dict[str, Path]) -> list[str]:
    """Data sets of a report that lie in files and whose folder is not among ``roots``."""
    names = dict.fromkeys(name for part in plain_parts(card) for name in part.datasets)
    cards = [load_card(DatasetCard, name) for name in names]
    return [each.name for each in cards if each.image_size is None and each.name not in roots]


def find_gaps(
    cards: list[ReportCard], store: Store, artifacts: Path, limit: int | None, roots: dict[str, Path]
) -> list[Gap]:
    """Every gap of ``cards``; hours come from how long stored runs of the same model and method took here."""
    clock = Clock.read(store)
    return [gap for card in cards for gap in _gaps(card, store, artifacts, limit, roots, clock)]


@dataclass(frozen=True)
class Clock:
    """Seconds per sequence and per compilation, from the notes beside stored results and artefacts."""

    runs: dict[tuple[str, str], list[float]]  # model and method: seconds of a run per sequence

    @classmethod
    def read(cls, store: Store) -> Clock:
        """Whatever times are noted in ``store``."""
        runs: dict[tuple[str, str], list[float]] = {}
        for path in sorted(store.root.rglob("*.meta.json")):
            result = path.with_name(path.name.removesuffix(".meta.json") + ".json")
            if not result.is_file() or "latency" in path.parts:
                continue
            found = store.read(result)
            if found.kind == "accuracy" and found.sequences:
                seconds = json.loads(path.read_text(encoding="utf-8"))["seconds"] / len(found.sequences)
                runs.setdefault((found.labels["model"], found.conditions["method"]["name"]), []).append(seconds)
        return cls(runs)

    def seconds(self, run: Run, compiled: bool) -> float | None:
        """Of a run: median of its method's runs (with or without compilation, as they were), else of the model's."""
        model = run.loaded.spec.name
        own = self.runs.get((model, run.method.card.name), [])
        others = [value for (name, _), values in self.runs.items() if name == model for value in values]
        rates = own or others
        if not rates:
            return None
        return (min(rates) if compiled else median(rates)) * len(run.dataset.sequences())


def _gaps(
    card: ReportCard, store: Store, artifacts: Path, limit: int | None, roots: dict[str, Path], clock: Clock
) -> Iterator[Gap]:
    if card.not_here:
        yield Gap(card.name, "the whole table", card.not_here)
        return
    runs: list[Run] = []
    cells = sum(len(part.rows) * len(part.datasets) * len(part.seeds) for part in plain_parts(card))
    if absent := folders_missing(card, roots):
        needs = " ".join(f"--root {name}=PATH" for name in absent)
        yield Gap(card.name, f"rows on {', '.join(absent)}", f"needs {needs}; see datasets/README.md", cells)
    else:
        try:
            ((_, runs),) = plan_reports([card], limit, roots=roots)
        except UserError as error:  # weights or a manifest that are not there
            yield Gap(card.name, "all rows", str(error), cells)
    yield from _cells(card, runs, store, artifacts, clock)
    if card.published is not None:
        sizes = stored_sizes(read_places(card, runs, store)) if runs else {}
        yield from _unmeasured(layout(card), Sources.read(card, store, sizes))
        yield from _unmeasurable(layout(card))


def _cells(card: ReportCard, runs: list[Run], store: Store, artifacts: Path, clock: Clock) -> Iterator[Gap]:
    """Scores that are not stored, as one gap."""
    lacking = [(run, sum(store.get(cell) is None for cell in run.cells())) for run in runs]
    todo = [run for run, cells in lacking if cells]
    if not todo:
        return
    times = [clock.seconds(run, run.scheme.is_float or artifact_path(artifacts, run).is_file()) for run in todo]
    known = [each for each in times if each is not None]
    yield Gap(
        card.name, _list(run.label for run in todo), f"fgq-bench run-all {arguments_of(card)}", sum(cells for _, cells in lacking),
        sum(len(run.dataset.sequences()) for run in todo), sum(known) / 3600 if len(known) == len(times) else None,
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
