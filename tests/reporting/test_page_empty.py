"""Reports, figures and the page of a store in which nothing succeeded: every section says so, none breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from page_sample import LATEST, fill_cache, plan_summary

from fgq_bench.cards import ReportCard
from fgq_bench.commands.reports import write_reports
from fgq_bench.errors import NotApplicable, UserError
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.planning import Run
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.figures.point_clouds import has_points
from fgq_bench.reporting.latency.report import latency_tables, write_latency_report
from fgq_bench.reporting.latency.selection import read_latency
from fgq_bench.reporting.page.clouds import clouds_section
from fgq_bench.reporting.page.page import render_page, sections_of
from fgq_bench.reporting.page.scatter import scatter_section
from fgq_bench.reporting.page.tables import Report, tables_section
from fgq_bench.reporting.reports import Built, build_report
from fgq_bench.reporting.tables import Table
from fgq_bench.result_kinds.common import COMPONENTS
from fgq_bench.results import Result, Store

NOTHING = "No accuracy result is stored. fgq-bench run-all makes them."
ENDINGS: dict[str, Callable[[Result], Result | None]] = {
    "–": lambda cell: None,
    "failed": lambda cell: cell.ended(UserError("it failed")),
    "n/a": lambda cell: cell.ended(NotApplicable("no camera token")),
}


@pytest.fixture(scope="module")
def planned() -> tuple[ReportCard, list[Run]]:
    """The summary with its first three rows."""
    card, runs = plan_summary()[0]
    rows = ["fp w16a16", "rtn w4a4", "rtn w8a8"]
    assert set(rows) <= set(card.rows)
    return card.model_copy(update={"rows": rows}), [run for run in runs if run.row in rows]


def build(planned: tuple[ReportCard, list[Run]], store: Store, ended: Callable[[Result], Result | None]) -> Built:
    card, runs = planned
    for cell in (cell for run in runs for cell in run.cells()):
        if (result := ended(cell)) is not None:
            store.put(result, {})
    return build_report(card, runs, store)


@pytest.mark.parametrize("shown", ENDINGS)
def test_reports_and_page_without_a_number(
    planned: tuple[ReportCard, list[Run]], tmp_path: Path, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store, cache = Store(tmp_path / "results"), PredictionCache(tmp_path / "cache")
    report = build(planned, store, ENDINGS[shown])
    assert all(cell.text in (shown, "–") for table in report.tables for row in table.rows for cell in row[2:])
    write_reports([report], store, cache, tmp_path / "out", "md,latex,csv")
    assert "figures" not in capsys.readouterr().out, "there is nothing to draw"
    sections = sections_of(tmp_path, [report], store, cache)
    assert [section.missing for section in sections if section.name == "scatter"] == [NOTHING]
    assert NOTHING in render_page(sections)


def test_rows_without_a_number_stand_among_the_others(planned: tuple[ReportCard, list[Run]], tmp_path: Path) -> None:
    """One row has a size and no score, another nothing: the axes are those that any row has."""

    def ended(cell: Result) -> Result | None:
        if cell.conditions["scheme"] == "w8a8":
            return replace(
                cell.ended(UserError("it failed")),
                bytes={**dict.fromkeys(COMPONENTS, 0), "aa": 10**6, "total": 10**6, "total_bf16": 4 * 10**6},
            )
        return None

    section = scatter_section([build(planned, Store(tmp_path), ended)], [])
    for points in section.data:
        assert [axis["label"] for axis in points["axes"]] == ["MB", "vs bf16"]
        assert [len(row["values"]) for row in points["rows"]] == [2, 2, 2]
        assert [row["name"] for row in points["rows"]] == ["Full precision", "RTN, w4a4", "RTN, w8a8"]


def test_a_table_without_rows() -> None:
    section = tables_section([Report("r", "t", "s", [Table("a", "b", "c", ["Method", "Scheme"], [])])])
    assert 'id="table-a"' in render_page([section])


@pytest.mark.parametrize("status", ["failed", "nothing"])
def test_latency_without_a_time(tmp_path: Path, status: str) -> None:
    """Every subject of the committed results, with all of its variants failed or none at all."""
    found = {result.conditions["subject"]: result for result in read_latency(Store(LATEST / "results"))}
    assert len(found) == 4
    store = Store(tmp_path / "results")
    for result in found.values():
        metrics = {name: {"error": "it failed"} for name in result.metrics} if status == "failed" else {}
        store.put(replace(result, metrics=metrics, status="failed", error="it failed", execution={}), {})
    tables = latency_tables(store)
    assert tables
    write_latency_report(store, tmp_path / "out", "md,latex,csv")
    render_page(sections_of(tmp_path, [], store, PredictionCache(None)))
    json.dumps(scatter_section([], read_latency(store)).data)


def test_a_scene_without_a_valid_depth_has_no_cloud(
    planned: tuple[ReportCard, list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, runs = planned
    dataset = runs[0].dataset
    scene = open_dataset(dataset.card, limit=1).load(dataset.sequences()[0])
    assert has_points(scene)
    assert scene.depth is not None
    assert not has_points(replace(scene, extrinsics=None))
    assert not has_points(replace(scene, depth=None))
    empty: Scene = replace(scene, mask=torch.zeros_like(scene.depth, dtype=torch.bool))
    assert not has_points(empty)
    cache, store = PredictionCache(tmp_path / "cache"), Store(tmp_path / "results")
    fill_cache(cache, [run for run in runs if run.loaded.spec.name == card.model])
    report = build(planned, store, ENDINGS["–"])
    assert not clouds_section([report], cache).missing
    monkeypatch.setattr(type(dataset), "load", lambda self, sequence: empty)
    assert clouds_section([report], cache).missing
    write_reports([report], store, cache, tmp_path / "out", "md")
    assert not (tmp_path / "out" / "figures").exists()
