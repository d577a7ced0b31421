"""Reports and pages of stores that hold nothing, only baselines, only failures, one model of two, or one file that is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fgq_bench.files import write_json
from fgq_bench.results import Result, Store
from tests.faults.outcome import Row
from tests.faults.sweep import Sweep

CARD = """name = "{name}"
title = "The sweep's own cells"
summary = "on two models, of which one was run"
model = "vggt-tiny"
also_on = ["pi3-tiny"]
datasets = ["procedural-rooms"]
scope = "aa"
presets = []
sequences = 2
rows = ["fp w16a16", "rtn w4a4"]
columns = ["pose.auc@30", "depth.delta_1.25_median"]
pictures = {pictures}
"""
PAGE = "index.html"


def write_card(folder: Path, pictures: Sequence[str] = ()) -> Path:
    """A report of cells of the sweep, as a file in ``folder``, with one more model that no store has a result of."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cells.toml"
    path.write_text(CARD.format(name=path.stem, pictures=list(pictures)))
    return path


def _keep(result: Result) -> Result | None:
    return result


def _baseline(result: Result) -> Result | None:
    return result if result.method == "fp" else None


def _failed(result: Result) -> Result | None:
    return replace(result, status="failed", error="a fault", metrics={}, sequences=[], bytes={})


def _not_applicable(result: Result) -> Result | None:
    return replace(result, status="not applicable", error="a fault", metrics={}, sequences=[], bytes={})


def _without_sequences(result: Result) -> Result | None:
    return replace(result, sequences=[])


def _nothing(result: Result) -> Result | None:
    return None


CHANGES: tuple[tuple[str, Callable[[Result], Result | None]], ...] = (
    ("nothing", _nothing),
    ("baselines only", _baseline),
    ("failed cells only", _failed),
    ("cells that do not apply only", _not_applicable),
    ("cells without sequences", _without_sequences),
    ("one model of two", _keep),
)
"""What a store holds, and how each result of the undisturbed sweep becomes one of it."""


def empty_pages(sweep: Sweep) -> list[Row]:
    """Tables and page of every such store; a page that is written shows the report."""
    card, rows = write_card(sweep.folder / "pages"), []
    for what, change in CHANGES:
        row = Row(f"report of {what}", "tables and page, or one line that says what is missing")
        results = _store(sweep, what, change)
        row.judge("rendered", _render(sweep, card, results))
        rows.append(row)
    rows.append(_bad_file(sweep, card))
    return rows


def _store(sweep: Sweep, name: str, change: Callable[[Result], Result | None]) -> Path:
    store = Store(sweep.folder / f"pages-{name.replace(' ', '-')}" / "results")
    store.root.mkdir(parents=True)
    for result in Store(sweep.folder / "undisturbed" / "results").all():
        if (changed := change(result)) is not None:
            write_json(store.root / changed.path(), changed.values())  # as it is: the store itself would refuse some
    return store.root


def _render(sweep: Sweep, card: Path, results: Path, says: str = "") -> list[str]:
    """Problems of rendering tables and page of ``results``."""
    output = results.parent / "report"
    page = output / PAGE
    arguments = ["report", str(card), "--results", str(results), "--limit", "2", "-o", str(output), "--page", str(page)]
    ended = sweep.command(arguments).wait()
    problems = list(ended.problems)
    if ended.code == 0 and not (page.is_file() and "</html>" in page.read_text(encoding="utf-8")):
        problems.append("no page, and exit code 0")
    if says not in " ".join(ended.text.split()):
        problems.append(f"{says} is not named: {ended.text.strip()[-200:]!r}")
    return problems


def _bad_file(sweep: Sweep, card: Path) -> Row:
    """One file of many is none: it is named and left out, the others are shown."""
    row = Row("report of a store with one bad file", "the file is named and left out; exit code 0")
    results = sweep.folder / "pages-bad-file" / "results"
    shutil.copytree(sweep.folder / "undisturbed" / "results", results)
    bad = next(path for path in sorted(results.rglob("pose/rtn-*.json")) if not path.name.endswith(".meta.json"))
    bad.write_text('{"schema": 1}')
    row.judge("rendered", _render(sweep, card, results, says=bad.name))
    return row
