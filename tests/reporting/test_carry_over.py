"""Reports on several models: a table for each, and whether the ranking carries over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from stored import scored

from fgq_bench.cards import ReportCard, load_card
from fgq_bench.commands.reports import choose_reports
from fgq_bench.errors import NotApplicable, UserError
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.carry_over import Agreement
from fgq_bench.reporting.figures.report_figures import write_report_figures
from fgq_bench.reporting.page.scatter import scatter_section
from fgq_bench.reporting.reports import Built, arguments_of, build_report, find_report, plain_parts, plan_reports
from fgq_bench.reporting.statistics import Sample
from fgq_bench.results import Result, Store

METHODS = ("rtn", "gptq", "awq", "smoothquant")
PLACE = {"vggt-tiny": (0.2, 0.4, 0.6, 0.8), "pi3-tiny": (0.2, 0.6, 0.4, 0.8)}  # of each method; the middle ones swap


def sample(values: np.ndarray) -> Sample:
    ones = np.ones(len(values))
    return Sample(
        tuple(map(str, range(len(values)))), values, ones, np.full(len(values), "all"), False, (float(values.mean()),)
    )


def agreement(spread: float, higher_is_better: bool) -> Agreement:
    rng = np.random.default_rng(0)
    first, second = (
        {name: sample(place + spread * rng.normal(size=40)) for name, place in zip(METHODS, places, strict=True)}
        for places in PLACE.values()
    )
    return Agreement(first, second, higher_is_better, [])


def test_pairs_in_opposite_order_are_named_better_on_the_first_model_first() -> None:
    found = agreement(0.01, higher_is_better=True)
    assert [pair for pair in found.told_apart() if not pair[2]] == [("awq", "gptq", False)]
    assert len(found.told_apart()) == 6
    lower = agreement(0.01, higher_is_better=False)
    assert [pair for pair in lower.told_apart() if not pair[2]] == [("gptq", "awq", False)]


def test_the_correlation_is_that_of_scipy() -> None:
    found = agreement(0.01, higher_is_better=True)
    first, second = ([float(each.values.mean()) for each in side.values()] for side in (found.first, found.second))
    assert found.cells()[1].startswith(f"{spearmanr(np.array(first), np.array(second)).statistic:.2f} [")


def test_a_lucky_seed_tells_nothing_apart() -> None:
    found = agreement(0.01, higher_is_better=True)
    spread = {name: replace(each, by_seed=(0.0, 1.0)) for name, each in found.first.items()}
    assert replace(found, first=spread).told_apart() == []


def test_noise_tells_nothing_apart() -> None:
    found = agreement(50.0, higher_is_better=True)
    assert found.told_apart() == []
    number, order, pairs, same, opposite, *_ = found.cells()
    assert (number, pairs, same, opposite) == ("4", "0 of 6", "0", "0")
    low, high = (float(each) for each in order.partition("[")[2].rstrip("]").split(", "))
    assert low < 0 < high


def card() -> ReportCard:
    changes = {
        "datasets": ["procedural-objects"], "seeds": [0], "columns": ["pose.auc@30"], "sequences": 8,
        "rows": ["fp w16a16", *(f"{name} w4a4" for name in METHODS), "qvggt w4a4"], "pictures": ["rtn w4a4"],
    }  # fmt: skip
    return load_card(ReportCard, "summary").model_copy(update=changes)


def filled(cell: Result, sequences: list[str]) -> Result:
    """A made-up result: methods at their places, sequences a little apart."""
    method, model = cell.labels["method"], cell.labels["model"]
    place = {**dict(zip(METHODS, PLACE[model], strict=True)), "qvggt": 0.5}.get(method, 0.9)
    values = place + 0.001 * np.arange(len(sequences))
    rows: list[dict[str, Any]] = [
        {"sequence": name, "category": "all", "weight": 1.0, "auc@30": float(value)}
        for name, value in zip(sequences, values, strict=True)
    ]
    return scored(cell.conditions, rows)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    store = Store(tmp_path_factory.mktemp("store"))
    ((asked, runs),) = plan_reports([card()], None)
    for run in runs:
        for cell in run.cells():
            absent = run.method.card.name == "qvggt" and run.loaded.spec.name == "pi3-tiny"
            result = cell.ended(NotApplicable("no camera token")) if absent else filled(cell, run.dataset.sequences())
            store.put(result, {})
    return build_report(asked, runs, store)


def test_a_table_for_each_model_and_one_of_both(built: Built) -> None:
    assert [table.name for table in built.tables] == [
        "summary-procedural-objects-vggt-tiny",
        "summary-procedural-objects-pi3-tiny",
        "summary-procedural-objects-carry-over-pi3-tiny",
    ]
    assert "Model pi3-tiny" in built.tables[1].caption
    assert built.missing == []
    rows = [[cell.text for cell in row] for row in built.tables[2].rows]
    assert [row[:3] for row in rows] == [["w4a4", "AUC@30 ↑", "4"]]
    assert rows[0][4:] == ["6 of 6", "5", "1", "smoothquant", "awq / gptq"]


def test_a_method_is_best_at_a_scheme(tmp_path: Path) -> None:
    """Best at one scheme on one model and at another scheme on the other is best on both at neither."""
    rows = [f"{name} {scheme}" for scheme in ("w4a4", "w4a8") for name in METHODS]
    ((asked, runs),) = plan_reports([card().model_copy(update={"rows": rows, "pictures": []})], None)
    for run in runs:
        turned = (str(run.scheme) == "w4a8") != (run.loaded.spec.name == "pi3-tiny")
        for cell in run.cells():
            result = filled(cell, run.dataset.sequences())
            if turned:
                for row in result.sequences:
                    row["auc@30"] = 1 - row["auc@30"]
            Store(tmp_path).put(result, {})
    table = build_report(asked, runs, Store(tmp_path)).tables[2]
    assert [(row[0].text, row[7].text) for row in table.rows] == [("w4a4", "–"), ("w4a8", "–")]


def test_what_does_not_apply_is_no_failure_and_gives_its_reason(built: Built) -> None:
    (row,) = (row for row in built.tables[1].rows if row[0].text == "QVGGT")
    assert row[2].text == "n/a"
    assert "n/a: no camera token." in built.tables[1].caption
    assert "n/a" not in built.tables[0].caption


def test_figures_and_page_show_both_models(built: Built, tmp_path: Path) -> None:
    files = write_report_figures(built, Store(tmp_path), PredictionCache(tmp_path), tmp_path)
    stems = {file.path.stem for file in files}
    assert {"summary-procedural-objects-bits", "summary-procedural-objects-pi3-tiny-bits"} <= stems
    section = scatter_section([built], [])
    assert [each["title"] for each in section.data] == [
        "Summary: Procedural objects, vggt-tiny", "Summary: Procedural objects, pi3-tiny"
    ]  # fmt: skip


def test_one_of_its_models_can_be_asked_for() -> None:
    alone = find_report("summary", "pi3-tiny")
    assert [part.model for part in plain_parts(alone)] == ["pi3-tiny"]
    assert arguments_of(alone) == "--report summary --model pi3-tiny"
    assert [part.model for part in plain_parts(find_report("summary", "vggt-tiny"))] == ["vggt-tiny"]
    assert [part.model for part in plain_parts(find_report("summary"))] == ["vggt-tiny", "pi3-tiny"]


def test_all_reports_of_a_model_are_found() -> None:
    names = {card.name for card in choose_reports(None, "pi3-tiny")}
    assert {"fgq-7", "headline-pi3-tiny", "summary-pi3-tiny"} <= names
    assert "fgq-1-pi3-tiny" not in names


@pytest.mark.parametrize("also_on", [["vggt-tiny"], ["pi3-tiny", "pi3-tiny"]])
def test_a_model_is_named_once(also_on: list[str]) -> None:
    with pytest.raises(ValueError, match="also_on names a model twice, or the report's own, 'vggt-tiny'"):
        ReportCard.model_validate({**load_card(ReportCard, "summary").model_dump(), "also_on": also_on})


def test_an_unknown_further_model_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(
        'name = "two"\ntitle = "Two"\nsummary = "Two."\nmodel = "vggt-tiny"\nalso_on = ["pi4"]\nscope = "aa"\npresets = []\n'
        'datasets = ["procedural-objects"]\nrows = ["rtn w4a4"]\ncolumns = ["pose.auc@30"]\n'
    )
    with pytest.raises(UserError, match="unknown model 'pi4'"):
        find_report(str(path))
