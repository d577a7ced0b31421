"""The page: the tables' numbers, escaped texts, no fetch, the same bytes again, a line where something is missing."""

from __future__ import annotations

import ast
import base64
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from page_sample import LATEST, plan_summary, write_fisher, write_sample, write_sensitivity, write_validity

from fgq_bench.commands.reports import render
from fgq_bench.errors import UserError
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.audit import run as audit_run
from fgq_bench.reporting.audit.run import SEVERITIES, TITLES, audit, off_by
from fgq_bench.reporting.fisher_validity import HEADS, show
from fgq_bench.reporting.page.audit import audit_section
from fgq_bench.reporting.page.audit_methods import METHODS
from fgq_bench.reporting.page.fisher import HIGHEST, LOWEST, encode, fisher_section
from fgq_bench.reporting.page.numbers import Measured, read_column, read_number
from fgq_bench.reporting.page.page import render_page, sections_of
from fgq_bench.reporting.page.section import Section
from fgq_bench.reporting.page.sensitivity import sensitivity_section
from fgq_bench.reporting.page.tables import PageTable, Report, tables_section
from fgq_bench.reporting.page.validity import validity_section
from fgq_bench.reporting.page.validity_chart import EDGE
from fgq_bench.reporting.published import Published, load_published
from fgq_bench.reporting.reports import build_report
from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.results import Store

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
LIMIT = 6e6  # bytes


class Reader(HTMLParser):
    """Elements with their attributes, texts of scripts, rows of tables by the figure's id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.figure = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "figure":
            self.figure = dict(attrs)["id"] or ""
            self.rows[self.figure] = []
        if tag == "tr":
            self.rows[self.figure].append([])
        if tag in ("th", "td"):
            self.rows[self.figure][-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "figure":
            self.figure = ""

    def handle_data(self, data: str) -> None:
        tag = self.tags[-1][0] if self.tags else ""
        if tag == "script":
            self.scripts[-1] += data
        elif tag in ("th", "td", "button", "strong", "u") and self.figure and data.strip() and self.rows[self.figure]:
            self.rows[self.figure][-1][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        """What the script draws."""
        values: dict[str, Any] = json.loads(self.scripts[0])
        return values


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("page"), plan_summary())


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def sample_table(name: str = "A") -> Table:
    rows = [[Cell(name), Cell("w4a4"), Cell("0.5 [0.4, 0.6]", "best")], [Cell("B"), Cell("–"), Cell("failed")]]
    return Table("t", name, f"Caption {name}", ["Method", "Scheme", "AUC ↑"], rows)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("0.693 [0.651, 0.730] ±0.010", Measured(0.693, 0.651, 0.730)),
        ("1.68x [1.63, 1.72]", Measured(1.68, 1.63, 1.72)),
        ("-3 %", Measured(-3.0, None, None)),
        ("0 (by definition)", Measured(0.0, None, None)),
        ("w4a4", None),
        ("4x84", None),
        ("inf", None),
    ],
)
def test_numbers_are_read_from_cells(cell: str, expected: Measured | None) -> None:
    assert read_number(cell) == expected


def test_a_column_is_numbers_or_words() -> None:
    assert read_column(["1.0", "–", "failed"]) == [Measured(1.0, None, None), None, None]
    assert read_column(["1.0", "global block"]) is None
    assert read_column(["–", "–"]) is None


def test_head_names_language_viewport_and_title(text: str) -> None:
    tags = Reader(text).tags
    assert ("html", {"lang": "en"}) in tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags
    assert "<title>fgq-bench: results</title>" in text
    names = ["scatter", "clouds", "sensitivity", "fisher", "validity", "audit", "tables"]
    assert [attributes["id"] for tag, attributes in tags if tag == "section"] == names
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links[1:] == [f"#{name}" for name in names]  # the first one skips to the results
    for name in names:
        assert ("section", {"id": name, "aria-labelledby": f"title-{name}"}) in tags


def test_tables_are_those_of_the_markdown(text: str) -> None:
    shown = Reader(text).rows
    (card, runs), *_ = plan_summary()
    tables = build_report(card, runs, Store(LATEST / "results")).tables
    for table in tables:
        assert shown[f"table-{table.name}"] == [table.heads, *([cell.text for cell in row] for row in table.rows)]


def test_plots_show_the_tables_texts_and_measured_times(text: str) -> None:
    points, other = Reader(text).data["scatter"]
    assert [each["title"] for each in (points, other)] == [
        f"Summary: Procedural objects, {model}" for model in ("vggt-tiny", "pi3-tiny")
    ]
    labels = [axis["label"] for axis in points["axes"]]
    rtn = next(row for row in points["rows"] if row["name"] == "RTN, w4a4")
    cell = rtn["values"][labels.index("AUC@30 ↑")]
    found = read_number(cell[3])
    assert found is not None
    assert cell[:3] == [found.value, found.low, found.high]
    timed = [index for index, label in enumerate(labels) if label.startswith("Time of aggregator")]
    assert timed and rtn["values"][timed[0]][0] > 0
    assert "AMD EPYC" in points["axes"][timed[0]]["note"]
    full = next(row for row in points["rows"] if row["name"] == "Full precision")
    assert full["values"][timed[0]] is not None  # bf16
    assert not full["scheme"]


def test_clouds_decode_to_the_points(text: str) -> None:
    clouds = Reader(text).data["clouds"]
    scene, other = clouds["scenes"]
    assert other["title"] == "Procedural objects, pi3-tiny"
    assert other["codes"]["truth"] == scene["codes"]["truth"]
    truth, full = (decode(scene["codes"][name], "<i2") for name in ("truth", "fp w16a16"))
    assert len(truth) % 3 == 0
    assert np.abs(truth - full).max() < 0.01 * 32767  # the float row's prediction is the truth, in fp16
    assert len(decode(scene["colours"], "u1")) == len(truth)
    panels = {each["scheme"]: [panel["cloud"] for panel in each["panels"]] for each in scene["schemes"]}
    assert panels["w4a4"][:3] == ["truth", "fp w16a16", "rtn w4a4"]
    assert len(panels["w4a4"]) == 4
    assert scene["codes"]["rtn w2a16"] is None  # not cached: the page says so


def decode(text: str, kind: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), kind).astype(np.int64)


def test_nothing_is_fetched(text: str) -> None:
    for _, attributes in Reader(text).tags:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "default-src &#39;none&#39;" in text
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]  # a namespace, no address


def test_same_inputs_same_bytes(page: Path, tmp_path: Path) -> None:
    assert write_sample(tmp_path, plan_summary()).read_bytes() == page.read_bytes()
    assert page.stat().st_size < LIMIT


def test_texts_are_escaped() -> None:
    section = tables_section([Report("r", EVIL, EVIL, [sample_table(EVIL)])])
    plots = Section("scatter", EVIL, data=[{"title": EVIL}])
    text = render_page([plots, section])
    read = Reader(text)
    assert len(read.scripts) == 2
    assert not any(tag == "img" for tag, _ in read.tags)
    assert read.rows["table-t"][1][0] == EVIL
    assert read.data["scatter"][0]["title"] == EVIL


def test_rows_know_scheme_and_value() -> None:
    table = PageTable.read(sample_table())
    assert table.numeric == [False, False, True]
    assert [row.scheme for row in table.rows] == ["w4a4", ""]
    assert [row.cells[2].number for row in table.rows] == [Measured(0.5, 0.4, 0.6), None]


def test_missing_parts_name_their_command(tmp_path: Path) -> None:
    sections = sections_of(tmp_path, [], Store(tmp_path), PredictionCache(tmp_path / "cache"))
    text = render_page(sections)
    commands = {
        "scatter": "run-all", "clouds": "run-all", "sensitivity": "sensitivity -o", "fisher": "fisher -o",
        "validity": "fisher-validity -o", "tables": "run-all",
    }  # fmt: skip
    assert [section.name for section in sections if not section.missing] == ["audit"]  # needs no results
    for section in (each for each in sections if each.missing):
        assert f"fgq-bench {commands[section.name]}" in section.missing
        assert section.missing in text
    assert Reader(text).data == {}


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_damaged_files_are_named(tmp_path: Path, content: str) -> None:
    write_fisher(tmp_path / "fisher")
    write_sensitivity(tmp_path / "sensitivity")
    write_validity(tmp_path / "fisher-validity")
    (tmp_path / "fisher" / "fisher.json").write_text(content)
    (tmp_path / "fisher-validity" / "fisher-validity.json").write_text(content)
    (tmp_path / "sensitivity" / "sensitivity.json").write_text(content)
    with pytest.raises(UserError, match=r"fisher\.json: not what fgq-bench fisher writes"):
        fisher_section(tmp_path)
    with pytest.raises(UserError, match=r"sensitivity\.json: not what fgq-bench sensitivity writes"):
        sensitivity_section(tmp_path)
    with pytest.raises(UserError, match=r"fisher-validity\.json: not what fgq-bench fisher-validity writes"):
        validity_section(tmp_path)


@pytest.mark.parametrize("key", ["channels", "blocks", "conditions", "contrast", "cancellation", "token_deviation"])
def test_damaged_parts_of_the_validity_file_are_named(tmp_path: Path, key: str) -> None:
    change_validity(tmp_path, key, None)
    with pytest.raises(UserError, match=r"fisher-validity\.json: not what"):
        validity_section(tmp_path)


def change_validity(folder: Path, key: str, value: object) -> None:
    """The sample's validity file with another value of one key."""
    write_validity(folder / "fisher-validity")
    path = folder / "fisher-validity" / "fisher-validity.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def test_validity_shows_the_correlations(page: Path, text: str) -> None:
    facts = json.loads((page.parent / "fisher-validity" / "fisher-validity.json").read_text())
    rows = facts["channels"]["correlation"]
    names = [
        *(f"{name}, {kind}" for name in ("sum", "gauss-newton") for kind in ("own task", "own task by token noise", "all tasks")),
        "variance", "permuted", "other half of the clips",
    ]  # fmt: skip
    read = Reader(text)
    printed = [[name, *(show(rows[name][measure], "{:z.2f}") for measure in HEADS)] for name in names]
    assert read.rows["table-validity-channels"][1:] == printed
    dots = [float(str(attributes["cx"])[:-1]) for tag, attributes in read.tags if tag == "circle"]
    wanted = [rows[name][measure]["value"] for measure in HEADS for name in names]
    lowest = -1.0  # of the sample's depth, in half ticks
    decoded = [lowest + (at - EDGE) / (100 - 2 * EDGE) * (1 - lowest) for at in dots]
    assert np.allclose(decoded, wanted, atol=2e-4)


def test_what_cancels_is_read_from_the_digests(tmp_path: Path) -> None:
    def text() -> str:
        return render_page([validity_section(tmp_path)])

    write_validity(tmp_path / "fisher-validity")
    facts = json.loads((tmp_path / "fisher-validity" / "fisher-validity.json").read_text())
    assert "A factor per block cancels" in text()
    assert "token equals the mean" in text()
    for training, digest in (("factors after", "c"), ("weights permuted (must differ)", "a")):
        artefacts = facts["cancellation"]["artefacts"] | {training: digest * 64}
        change_validity(tmp_path, "cancellation", facts["cancellation"] | {"artefacts": artefacts})
        assert "A factor per block does not cancel" in text()
    change_validity(tmp_path, "token_deviation", 1e-3)
    assert "token is not the mean" in text()


def test_audit_lists_every_finding_the_worst_first(text: str) -> None:
    findings = audit(load_published())
    tags = Reader(text).tags
    classes = [str(attributes["class"]) for tag, attributes in tags if tag == "li" and "data-papers" in attributes]
    assert len(classes) == len(findings)
    assert classes == sorted(classes, key=lambda name: SEVERITIES.index(name.removeprefix("finding ")))
    shown = unescape(text)
    for finding in findings:
        parts = [finding.where, ", ".join(finding.cells), finding.expected, *finding.found.split("; "), off_by(finding)]
        assert [part for part in parts if part not in shown] == []
    for paper, title in TITLES.items():
        count = sum(paper in finding.paper.split(", ") for finding in findings)
        assert f">{title} ({count})</option>" in text


def test_every_check_says_how_it_computes() -> None:
    folder = Path(audit_run.__file__).parent
    calls = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]  # fmt: skip
    names = {ast.literal_eval(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Finding"}  # fmt: skip
    assert names == set(METHODS)
    for name, method in METHODS.items():
        assert f'"{name}"' in (folder.parent.parent.parent / method.source).read_text()


def test_findings_are_escaped() -> None:
    published = load_published()
    cells = [replace(cell, printed=replace(cell.printed, dataset=EVIL, method=EVIL)) for cell in published.cells]
    read = Reader(render_page([audit_section(Published(cells))]))
    assert len(read.scripts) == 2
    assert not any(tag == "img" for tag, _ in read.tags)
    assert EVIL in {row[2] for row in read.rows["table-audit-full-precision"]}


def test_fisher_codes_keep_a_thousandth() -> None:
    values = torch.rand(3, 2, 3, 5, dtype=torch.float64)
    values[0, 0, 0, 0] = 0
    codes = np.frombuffer(base64.b64decode(encode(values)), "<u2").reshape(values.shape).astype(np.float64)
    relative = values / values.sum(2).mean((1, 2))[:, None, None, None]
    decoded = 10 ** (LOWEST + (codes - 1) / 65534 * (HIGHEST - LOWEST))
    assert codes[0, 0, 0, 0] == 0
    assert np.allclose(decoded[codes > 0], relative.numpy()[codes > 0], rtol=1e-3)


def test_report_writes_a_page_and_prints_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "new" / "index.html"
    render("latency", LATEST / "results", None, "md", None, None, False, page)
    assert capsys.readouterr().out.startswith(f"wrote {page} (")
    shown = Reader(page.read_text(encoding="utf-8")).rows
    assert any(name.startswith("table-latency-networks-vggt-1b") for name in shown)


def test_committed_page_shows_the_committed_report() -> None:
    committed = LATEST / "index.html"
    assert committed.stat().st_size < LIMIT
    shown = Reader(committed.read_text(encoding="utf-8")).rows
    lines = (LATEST / "headline.md").read_text(encoding="utf-8").splitlines()
    printed = [[re.sub(r"\*\*|</?u>", "", cell) for cell in line[2:-2].split(" | ")] for line in lines if line.startswith("| ")]  # fmt: skip
    names = [
        *(f"procedural-{family}-{model}" for model in ("vggt-tiny", "pi3-tiny") for family in ("objects", "rooms"))
    ]
    names += [f"procedural-{family}-carry-over-pi3-tiny" for family in ("objects", "rooms")]
    assert [row for name in names for row in shown[f"table-headline-{name}"]] == printed
