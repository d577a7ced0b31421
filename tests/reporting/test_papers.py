"""The papers' tables made here: what is asked for, losses beside losses, what is missing, refusals."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from fgq_bench.cards import ProtocolCard, ReportCard, card_names, content_root, load_card
from fgq_bench.cli import app
from fgq_bench.errors import UserError
from fgq_bench.quant.scheme import Scheme
from fgq_bench.registry import find_method
from fgq_bench.reporting.figures.paper_losses import draw_paper_losses
from fgq_bench.reporting.papers.comparison import Comparison
from fgq_bench.reporting.papers.layout import layout
from fgq_bench.reporting.papers.loss import loss_samples, printed_loss
from fgq_bench.reporting.published import load_published
from fgq_bench.reporting.reports import build_report, find_report, plan_reports, read_places
from fgq_bench.reporting.rows import RowText
from fgq_bench.reporting.statistics import Interval, Sample, percentiles, spearman
from fgq_bench.reporting.tables import Table
from fgq_bench.results import Store

LATEST = content_root() / "reports/latest"
STORE = Store(LATEST / "results")
TABLES = [name for name in card_names("reports") if load_card(ReportCard, name).published]
LARGE = [name for name in TABLES if "vggt-1b" in load_card(ReportCard, name).models]
ASKED = {
    "fgq": [*(f"Table {n}" for n in range(1, 8)), "Figure2", "Figure3c", "Figure 4"],
    "quantvggt": [*(f"Table {n}" for n in (*range(1, 6), *range(8, 16))), "Figure 5", "Figure 6", "Figure 8"],
    "qvggt": [*(f"Table {n}" for n in (1, 2, 3, 4, 5, "A2")), "Figure 4 (text)"],
}


def write(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    """A copy of a report's card with ``changes``; its path."""
    text = (content_root() / f"reports/{name}.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


def tables_of(name: str, store: Store = STORE) -> list[Table]:
    card = find_report(name)
    ((_, runs),) = plan_reports([card], None)
    return build_report(card, runs, store).tables


# What is asked for ----------------------------------------------------------------------------------------------------


def test_every_table_and_figure_with_printed_numbers_has_a_report() -> None:
    cards = [load_card(ReportCard, name).published for name in TABLES]
    assert len(set(cards)) == len(cards)
    assert {f"{paper}, {table}" for paper, tables in ASKED.items() for table in tables} <= set(cards)


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_methods_with_their_options(name: str) -> None:
    card = find_report(name)
    for text in layout(card).texts:
        row = RowText.parse(name, text)
        Scheme.parse(row.scheme)
        find_method(row.method, row.overrides()).quantizer()
    assert "full" in card.presets


@pytest.mark.parametrize("name", LARGE)
def test_on_vggt_1b_every_column_is_the_protocols(name: str) -> None:
    found = layout(find_report(name, "vggt-1b"))
    for place, part in found.parts().items():
        assert place.protocol is not None
        entry = load_card(ProtocolCard, place.protocol).datasets[place.dataset]
        assert {column.partition(".")[0] for column in part.columns} <= set(entry.tasks)
        assert part.calibration is not None and part.calibration.endswith(".json")
        for row in (RowText.parse(name, text) for text in part.rows):
            assert row.calibration is None or row.calibration.endswith(".json")
    said = [cell.metric for cell in found.cells.values() if cell.protocol is not None and "." in cell.metric]
    shown = [f"{each.column.task}.{each.column.metric}" for each in found.columns if each.column is not None]
    assert set(shown) == set(said)


def test_manifests_of_the_rows_are_explained() -> None:
    text = (content_root() / "datasets/README.md").read_text()
    for name in LARGE:
        for part in layout(find_report(name, "vggt-1b")).parts().values():
            asked = {part.calibration, *(RowText.parse(name, row).calibration for row in part.rows)} - {None}
            assert all(str(each).removesuffix(".json") in text for each in asked), asked


def test_a_row_with_its_own_seed() -> None:
    card = find_report("quantvggt-10")
    assert {"quantvggt w4a4", "quantvggt w4a4 seed=1", "quantvggt w4a4 seed=2"} <= set(layout(card).texts)
    ((_, runs),) = plan_reports([card], None)
    seeds = {run.row: run.seed for run in runs}
    assert (seeds["quantvggt w4a4"], seeds["quantvggt w4a4 seed=1"], seeds["quantvggt w4a4 seed=2"]) == (0, 1, 2)
    assert all(not run.method.options.get("seed") for run in runs)
    with pytest.raises(UserError, match="is not of the form"):
        RowText.parse("r", "rtn w4a4 seed=first")


def test_methods_that_are_not_here_are_printed_only() -> None:
    found = layout(find_report("quantvggt-1"))
    foreign = {row.method for row in found.rows if row.text is None}
    assert foreign == {"BRECQ", "QDrop", "DopQ-ViT", "RepQ-ViT"}
    (table, _) = tables_of("quantvggt-1")
    lines = [[cell.text for cell in line[:3]] for line in table.rows]
    assert ["BRECQ", "W4A4", "printed"] in lines
    assert not any(line[0] == "BRECQ" and line[2] != "printed" for line in lines)


# Losses ---------------------------------------------------------------------------------------------------------------


def sample(*values: float) -> Sample:
    array = np.array(values)
    names = tuple(f"s{index}" for index in range(len(values)))
    return Sample(names, array, np.ones(len(values)), np.array(["one"] * len(values)), False, (0.0,))


def measured_loss(sample: Sample, full: Sample, higher_is_better: bool) -> Interval | None:
    losses = loss_samples(sample, full, higher_is_better)
    return None if losses is None else percentiles(losses)


def test_loss_here_is_paired() -> None:
    full = sample(0.2, 0.4, 0.8, 0.6)
    worse = measured_loss(sample(0.1, 0.2, 0.4, 0.3), full, higher_is_better=True)
    assert worse is not None
    assert [worse.value, worse.low, worse.high] == pytest.approx([50, 50, 50])  # half of everything, in every resample
    error = measured_loss(sample(0.3, 0.6, 1.2, 0.9), full, higher_is_better=False)
    assert error is not None and error.value == pytest.approx(50)
    better = measured_loss(sample(0.3, 0.6, 1.2, 0.9), full, higher_is_better=True)
    assert better is not None and better.value == pytest.approx(-50)
    assert measured_loss(full, sample(0, 0, 0, 0), higher_is_better=True) is None


def test_the_order_of_methods() -> None:
    random = np.random.default_rng(0)
    losses = [random.normal(place, 0.8, 500) for place in range(6)]
    printed = [3.0, 1.0, 2.0, 7.0, 7.0, 9.0]
    found = spearman(losses, [np.array([each]) for each in printed])
    plain = [spearmanr([row[draw] for row in losses], printed).statistic for draw in range(500)]
    assert found.value == pytest.approx(plain[0])
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(plain[1:], [2.5, 97.5])))
    assert spearman(losses, [np.ones(1)] * 6).value == 0
    assert spearman(
        [np.full(3, float(n)) for n in range(4)], [np.full(3, 4.0 - n) for n in range(4)]
    ).value == pytest.approx(-1)


def test_loss_as_printed_is_known_as_far_as_its_rounding() -> None:
    published = load_published()
    for cell in published.table("fgq", "Table 2"):
        full = published.full_precision(cell)
        assert full is not None
        loss = printed_loss(cell, full)
        assert loss is not None
        sign = -1 if cell.higher_is_better else 1
        grid = itertools.product(np.linspace(cell.low, cell.high, 5), np.linspace(full.low, full.high, 5))
        possible = [100 * sign * (value - reference) / reference for value, reference in grid]
        assert (min(possible), max(possible)) == pytest.approx((loss.low, loss.high))
        assert loss.low <= loss.value <= loss.high


def test_what_a_cell_says() -> None:
    """Loss, value and difference of one cell, from the result files alone."""
    values = {}
    for path in (LATEST / "results/vggt-tiny/procedural-objects/pose").glob("*.json"):
        result = json.loads(path.read_text())
        c = result["conditions"]
        plain = (
            c["method"]["name"] in ("fp", "rtn") and c["scope"] in ("aa", "none") and len(result["sequences"]) == 128
        )
        if plain and c["scheme"] in ("w16a16", "w4a4"):
            values[c["method"]["name"]] = result["metrics"]["auc@30"]["value"]
    loss = 100 * (1 - values["rtn"] / values["fp"])
    printed = 100 * (1 - 0.6547 / 0.9731)
    (table, _) = tables_of("fgq-1")
    column = table.heads.index("AUC@30 ↑")
    lines = {tuple(cell.text for cell in line[:3]): line[column].text for line in table.rows}
    here = lines["RTN", "W4A4", "here: rtn w4a4"]
    assert here.startswith(f"{values['rtn']:.3f} [") and f"; loss {loss:.1f} [" in here
    assert lines["RTN", "W4A4", "printed"].startswith(f"0.6547; loss {printed:.1f} [")
    assert lines["RTN", "W4A4", "difference"].startswith(f"{loss - printed:.1f} [")
    assert lines["FP16", "W16A16", "printed"] == "0.9731"
    assert ("FP16", "W16A16", "difference") not in lines


def test_a_table_without_full_precision_is_compared_all_the_same() -> None:
    (table,) = tables_of("fgq-5")
    assert not any(line[0].text.startswith("FP") for line in table.rows)
    here = [line[3].text for line in table.rows if line[2].text.startswith("here")]
    assert here and all("; loss " in text for text in here)


# Times, bytes, costs --------------------------------------------------------------------------------------------------


def timed(frames: int, scope: str, variant: str) -> float:
    """Stored speed-up of a whole network."""
    paths = (LATEST / "results/vggt-tiny/latency").glob(f"*/model/{frames}x84-*.json")
    results = [json.loads(path.read_text()) for path in paths if not path.name.endswith(".meta.json")]
    (found,) = [
        result["metrics"][variant]["speedup"]["value"]
        for result in results
        if result["conditions"]["variants"]["scope"] == scope and variant in result["metrics"]
    ]
    return float(found)


def test_times_are_those_of_the_row_and_the_frames() -> None:
    (table,) = tables_of("quantvggt-8")  # "CO3Dv2 (10 frames)"
    column = table.heads.index("speed-up ↑")
    lines = {line[2].text: line[column].text for line in table.rows if line[2].text.startswith("here")}
    for scheme in ("w4a4", "w4a4-astatic"):
        assert lines[f"here: quantvggt {scheme}"].startswith(f"{timed(10, 'aa', f'quantvggt {scheme}'):.2f}x [")
    assert "10 x 84 px" in table.caption and "80 x 84 px" not in table.caption
    (frames,) = tables_of("quantvggt-15")
    for count in (10, 20, 40, 80):
        (column,) = [place for place, head in enumerate(frames.heads) if f" {count} frames" in head]
        assert frames.rows[0][column].text.startswith(f"{timed(count, 'aa', 'quantvggt w4a4'):.2f}x [")


def test_a_column_shows_one_case_of_the_cards_scope() -> None:
    for name in TABLES:
        for table in tables_of(name):
            cases = set(re.findall(r"(\d+ x 84 px), scope ([\w+]+)", table.caption))
            assert {scope for _, scope in cases} <= {find_report(name).scope}
            timed_columns = [head for head in table.heads if "speed-up" in head or "latency" in head]
            assert len(cases) <= max(1, len(timed_columns)) or name == "qvggt-figure-4"


def test_bytes_are_those_of_the_artefact() -> None:
    sizes = set()
    for path in (LATEST / "results/vggt-tiny/procedural-objects/pose").glob("quantvggt-w4a4-*.json"):
        result = json.loads(path.read_text())
        if (
            result["conditions"]["method"]["options"]["rotation"] is False
            and result["conditions"]["method"]["options"]["scale"]
        ):
            sizes.add(f"{result['bytes']['total_bf16'] / result['bytes']['total']:.2f}x")
    (table,) = tables_of("quantvggt-9")
    column = table.heads.index("memory reduction ↑")
    lines = {line[2].text: line[column].text for line in table.rows}
    assert {lines["here: quantvggt w4a4 rotation=false"]} == sizes


def test_cost_of_calibration_counts_fisher_information() -> None:
    (table,) = tables_of("fgq-appendix-c")
    lines = {line[2].text: line[3].text for line in table.rows}
    assert "Fisher information" in lines["here: fgq w4a4"]
    assert "Fisher information" not in lines["here: flatquant w4a4"]
    assert all(re.match(r"\d+\.\d min", lines[f"here: {name} w4a4"]) for name in ("fgq", "flatquant"))


# What is missing ------------------------------------------------------------------------------------------------------


def test_the_committed_reports_lack_nothing_that_can_be_scored() -> None:
    result = CliRunner().invoke(app, ["report", "--missing", "--results", str(LATEST / "results"), "--json"])
    assert result.exit_code == 0, result.output
    gaps = json.loads(result.output)
    assert not [gap for gap in gaps if gap["cells"]]
    assert {"no method of this project: printed only", "no counterpart here: printed only"} <= {g["why"] for g in gaps}


def test_what_an_empty_store_lacks(tmp_path: Path) -> None:
    arguments = ["report", "fgq-6", "--missing", "--results", str(tmp_path / "results"), "--json"]
    gaps = json.loads(CliRunner().invoke(app, arguments).output)
    scores, costs = gaps
    assert (scores["cells"], scores["sequences"], scores["hours"]) == (
        6,
        96,
        None,
    )  # fp, flatquant, fgq: two tasks each
    assert scores["why"] == "fgq-bench run-all --report fgq-6"
    assert costs["why"] == "fgq-bench cost --model vggt-tiny --scope aa -m flatquant -m fgq -b w4a4"


def test_what_data_in_files_needs(tmp_path: Path) -> None:
    arguments = ["report", "fgq-2", "--model", "vggt-1b", "--missing", "--results", str(tmp_path), "--json"]
    (gap,) = json.loads(CliRunner().invoke(app, arguments).output)
    assert gap["report"] == "fgq-2-vggt-1b"
    assert "--root 7scenes=PATH --root eth3d=PATH" in gap["why"]
    assert gap["cells"] == 22


def test_a_gap_in_the_store_is_a_dash_and_is_named(tmp_path: Path) -> None:
    (table,) = tables_of("quantvggt-10", Store(tmp_path))
    here = [cell.text for line in table.rows if line[2].text.startswith("here") for cell in line[3:]]
    assert set(here) == {"–"}
    assert any(line[2].text == "printed" and "loss" in line[3].text for line in table.rows)


# Figure ---------------------------------------------------------------------------------------------------------------


def test_the_figure_has_a_panel_for_every_scored_column(tmp_path: Path) -> None:
    card = find_report("fgq-1")
    ((_, runs),) = plan_reports([card], None)
    compared = Comparison(layout(card), read_places(card, runs, STORE))
    paths = [file.path for file in draw_paper_losses(compared, tmp_path / "losses")]
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)
    nothing = find_report("quantvggt-6")
    assert draw_paper_losses(Comparison(layout(nothing), {}), tmp_path / "nothing") == []


def test_a_row_that_is_printed_twice_is_compared_once() -> None:
    """FGQ's table 5 prints FGQ as two rows, one for each data set: it is one of the methods in both columns."""
    card = find_report("fgq-5")
    ((_, runs),) = plan_reports([card], None)
    compared = Comparison(layout(card), read_places(card, runs, STORE))
    for column in compared.layout.columns:
        printed = {
            row.text for row in compared.layout.rows if compared.printed(row, column) and compared.measured(row, column)
        }
        assert "fgq w4a4" in printed and len(printed) == 4
        assert compared.rank_agreement("W4A4", column) is not None


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"fgq, Table 1"', '"fgq: Table 1"', "is not of the form 'PAPER, TABLE'"),
        ('"fgq, Table 1"', '"fgq, Table 11"', "did you mean Table 1"),
        ('"fgq, Table 1"', '"fqg, Table 1"', "did you mean fgq"),
        ('"Re10K" =', '"RE10K" =', "beside: 'RE10K' is no data set of that table; it has CO3Dv2, Re10K"),
        ("[beside]", '[words]\n"w4a16" = "w4a16g64"\n\n[beside]', "words: 'w4a16' is in no row of that table"),
        (
            "[beside]",
            '[words]\n"rtn" = "rtnn"\n\n[beside]',
            "words make 'rtnn w4a8' of a row: no such method or scheme",
        ),
        ("[models.vggt-1b]", "[models.vggt-2b]", "unknown model 'vggt-2b'"),
        ("[beside]", 'rows = ["rtn w4a4"]\n\n[beside]', "rows is that of the published table"),
        ('published = "fgq, Table 1"\n', "", "datasets is missing"),
    ],
)
def test_a_wrong_card_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write(tmp_path, "fgq-1", (old, new))
    with pytest.raises(UserError) as caught:
        layout(find_report(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "--model", "nope", "--missing"], "unknown model 'nope'"),
        (["report", "--model", "vggt-1b"], "what scores data in files needs --root co3dv2=PATH"),
        (["report", "fgq-2", "--model", "vggt-1b"], "--root 7scenes=PATH --root eth3d=PATH"),
        (["run-all", "--model", "vggt-1b"], "--model needs --report"),
        (["compare", "rtn w4a4", "fgq w4a4", "--report", "quantvggt-6"], "report quantvggt-6 scores nothing here"),
        (["compare", "rtn w4a4", "fqg w4a4", "--report", "fgq-1"], "did you mean fgq w4a4"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_one_line(arguments: list[str], said: str) -> None:
    results = [] if arguments[0] == "run-all" else ["--results", str(LATEST / "results")]
    result = CliRunner().invoke(app, [*arguments, *results])
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
