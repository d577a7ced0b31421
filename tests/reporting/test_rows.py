"""Rows of a report card: their grammar, what they ask for, and how a table tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fgq_bench import planning
from fgq_bench.cards import DatasetCard, ReportCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.planning import LoadedModel, Request
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.figures import report_figures
from fgq_bench.reporting.reports import build_report, plan_reports
from fgq_bench.reporting.rows import RowText
from fgq_bench.reporting.statistics import Sample
from fgq_bench.reporting.tables import Row, Table, read_rows, report_runs
from fgq_bench.results import Store


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return LoadedModel.load(Request([], [], [], model="vggt-tiny"))


def card(*rows: str) -> ReportCard:
    changes = {
        "also_on": [],
        "rows": list(rows),
        "datasets": ["procedural-objects"],
        "seeds": [0, 1],
        "columns": ["pose.auc@30"],
    }
    return load_card(ReportCard, "summary").model_copy(update=changes)


def table(loaded: LoadedModel, root: Path, *rows: str) -> Table:
    asked = card(*rows)
    return build_report(asked, report_runs(asked, loaded, None), Store(root)).tables[0]


def test_parts_of_a_row() -> None:
    row = RowText.parse("r", "flatquant:code w4a4-astatic epochs=2 lac=false @nfds-40x10")
    assert (row.method, row.scheme, row.calibration) == ("flatquant:code", "w4a4-astatic", "nfds-40x10")
    assert row.overrides() == {"epochs": 2, "lac": False}
    assert row.label == "flatquant:code epochs=2 lac=false @nfds-40x10"
    assert RowText.parse("r", "rtn w4a4").label == "rtn"


@pytest.mark.parametrize(
    "text",
    [
        "rtn", "rtn  w4a4", "rtn w4a4 ", "rtn w4a4 alpha", "rtn w4a4 alpha=", "rtn w4a4 =1", "rtn w4a4 alpha=[1]",
        "rtn w4a4 @", "rtn w4a4 @a @b", "rtn w4a4 @a alpha=1", "rtn @a", "rtn alpha=1", "", "rtn w4a4 seed=٤", "rtn w4a4 seed=-1",
    ],
)  # fmt: skip
def test_a_malformed_row_is_one_line(loaded: LoadedModel, text: str) -> None:
    with pytest.raises(UserError) as caught:
        report_runs(card(text), loaded, None)
    grammar = "'METHOD[:PRESET] SCHEME [KEY=VALUE ...] [@CALIBRATION]'"
    assert str(caught.value).startswith(f"report summary: row {text!r} is not of the form {grammar}")
    assert "\n" not in str(caught.value)


def test_a_manifest_that_nothing_reads_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(UserError, match="row 'rtn w4a4 @procedural-64x4': is not calibrated, so it takes no"):
        report_runs(card("rtn w4a4 @procedural-64x4"), loaded, None)
    report_runs(card("rtn w4a4-astatic @procedural-64x4"), loaded, None)


def test_a_row_asks_for_its_overrides_and_its_manifest(loaded: LoadedModel, manifest: Path) -> None:
    runs = report_runs(card("gptq w4a4", "gptq w4a4 damping=0.5", f"gptq w4a4 @{manifest}"), loaded, None)
    assert [run.method.options["damping"] for run in runs] == [0.01, 0.5, 0.01]
    assert [run.clips.manifest.name for run in runs if run.clips] == ["procedural-64x4", "procedural-64x4", "four"]
    assert runs[1].label == "gptq w4a4 damping=0.5 on procedural-objects"


def test_rows_are_told_apart_by_their_text(loaded: LoadedModel, tmp_path: Path) -> None:
    asked = card("quarot:gptq w4a4", "quarot:gptq w4a4 damping=0.5", "quarot w4a4")
    rows = read_rows(asked, report_runs(asked, loaded, None), Store(tmp_path))["procedural-objects"]
    assert [row.asked.text for row in rows] == asked.rows
    assert [[run.seed for run in row.runs] for row in rows] == [[0, 1]] * 3
    shown = build_report(asked, [run for row in rows for run in row.runs], Store(tmp_path)).tables[0]
    assert shown.heads[:3] == ["Method", "Scheme", "AUC@30 ↑"]
    titles = ["QuaRot (gptq)", "QuaRot (gptq, damping=0.5)", "QuaRot"]
    assert [row[0].text for row in shown.rows] == titles


def test_manifests_get_a_column_where_they_differ(loaded: LoadedModel, tmp_path: Path, manifest: Path) -> None:
    shown = table(loaded, tmp_path, "rtn w4a4", "rtn w4a4-astatic", f"gptq w4a4 @{manifest}")
    assert shown.heads[:4] == ["Method", "Scheme", "Calibration", "AUC@30 ↑"]
    assert [row[2].text for row in shown.rows] == ["–", "procedural-64x4", "four"]
    assert all(len(row) == len(shown.heads) for row in shown.rows)
    assert "calibration procedural-64x4, four;" in shown.caption
    assert "Calibration" not in table(loaded, tmp_path, "rtn w4a4", f"gptq w4a4 @{manifest}").heads


def test_a_ranking_keeps_rows_of_one_method_apart(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = card("gptq w4a4", "gptq w4a4 damping=0.5", "rtn w8a8")
    rows = read_rows(asked, report_runs(asked, loaded, None), Store(tmp_path))["procedural-objects"]
    drawn: list[str] = []
    monkeypatch.setattr(Row, "sample", lambda row, column: object())

    def draw(samples: dict[str, Sample], *rest: object) -> list[Path]:
        drawn.extend(samples)
        return []

    monkeypatch.setattr(report_figures, "draw_ranking", draw)
    report_figures._ranking(rows, Column.parse("pose.auc@30"), "title", tmp_path / "r")
    assert drawn == ["gptq", "gptq damping=0.5"]


def test_a_report_opens_every_data_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def counted(card: DatasetCard, *how: Any) -> Dataset:
        opened.append(card.name)
        return open_dataset(card, *how)

    monkeypatch.setattr(planning, "open_dataset", counted)
    ((_, runs),) = plan_reports([card("rtn w4a4", "rtn w8a8", "gptq w4a4")], None)
    assert len({run.row for run in runs}) == 3
    assert opened == card("rtn w4a4").datasets
