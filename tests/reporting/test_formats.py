"""Markdown, LaTeX and CSV of the same table, and tables inside the README."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fgq_bench.cards import ReportCard, content_root, load_card
from fgq_bench.errors import UserError
from fgq_bench.reporting.formats import escape_latex, find_format, markdown_paragraph, to_csv, to_latex, to_markdown
from fgq_bench.reporting.readme import fill_tables
from fgq_bench.reporting.reports import build_report, plan_reports
from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.results import Store

TABLE = Table(
    "t-x",
    "Title",
    "Caption with 95 % and a_b.",
    ["Method", "Scheme", "AUC@30 ↑", "Δ rotation (°) ↓"],
    [
        [Cell("Full precision"), Cell("–"), Cell("0.900 [0.8, 0.9]"), Cell("0.00")],
        [Cell("A & B"), Cell("w4a4"), Cell("0.800", "best"), Cell("1.00 ±0.10", "second")],
    ],
)
LATEST = content_root() / "reports" / "latest"


def test_markdown() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[4] == "| Method | Scheme | AUC@30 ↑ | Δ rotation (°) ↓ |"
    assert lines[7] == "| A & B | w4a4 | **0.800** | <u>1.00 ±0.10</u> |"


def test_latex_escapes_and_marks() -> None:
    text = to_latex(TABLE)
    assert r"A \& B & w4a4 & \textbf{0.800} & \underline{1.00 $\pm$0.10} \\" in text
    assert r"\caption{Caption with 95 \% and a\_b.}" in text
    assert escape_latex("δ<1.25") == r"$\delta$$<$1.25"


needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed (apt install texlive-latex-recommended)"
)


def compile_latex(folder: Path, body: str) -> None:
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\extrafloats{200}\\begin{document}\n"
    (folder / "t.tex").write_text(head + body + "\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


@needs_latex
def test_latex_compiles(tmp_path: Path) -> None:
    compile_latex(tmp_path, to_latex(TABLE))


@needs_latex
def test_every_committed_table_compiles(tmp_path: Path) -> None:
    paths = sorted(LATEST.glob("*.tex"))
    assert len(paths) > 40
    compile_latex(tmp_path, "".join(f"\\input{{{path}}}\\clearpage\n" for path in paths))


def test_csv_round_trip() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == TABLE.heads
    assert rows[2][2] == "0.800"


def test_unknown_format() -> None:
    with pytest.raises(UserError, match="unknown format 'mdd'; did you mean md"):
        find_format("mdd")


def test_fill_tables_touches_nothing_else() -> None:
    text = "before\n<!-- table a -->\nold\n<!-- end table -->\nafter <!-- end table -->\n"
    assert fill_tables(text, {"a": "new\n"}) == text.replace("old", "new")
    with pytest.raises(UserError, match="table 'a' is asked for"):
        fill_tables(text, {})


@pytest.fixture(scope="module")
def latest() -> dict[str, str]:
    """The committed reports rendered again from the committed results."""
    store = Store(LATEST / "results")
    rendered = {}
    for card, runs in plan_reports([load_card(ReportCard, name) for name in ("summary", "headline")], None):
        built = build_report(card, runs, store)
        assert not built.missing
        rendered[card.name] = "\n".join(to_markdown(table) for table in built.tables)
    return rendered


def test_readme_numbers_are_those_of_the_committed_results(latest: dict[str, str]) -> None:
    readme = (content_root() / "README.md").read_text(encoding="utf-8")
    assert fill_tables(readme, latest) == readme


def test_committed_report_is_that_of_the_committed_results(latest: dict[str, str]) -> None:
    assert (LATEST / "headline.md").read_text(encoding="utf-8").endswith(latest["headline"])


HOSTILE = [
    ("<script>alert(1)</script>", r"\<script>alert(1)\</script>"),
    ("<!-- end table -->", r"\<!-- end table -->"),
    ("![x](http://h/y) [a]: b [c][d]", r"![x\](http://h/y) [a\]: b [c\][d]"),
    ("**best** a|b", r"\*\*best\*\* a\|b"),
    (r"\<b> \| c", r"\\\<b> \\\| c"),
    ("a\n\n# b\r\u2028c\x1b[2J", r"a  # b  c\\x1b[2J"),
    ("δ<1.25, p < 0.05, [0.1, 0.2] (sum), `code`, a_b", "δ<1.25, p < 0.05, [0.1, 0.2] (sum), `code`, a_b"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE, ids=lambda text: repr(text)[1:12])
def test_markdown_shows_texts_as_they_are(text: str, shown: str) -> None:
    table = Table("t", text, text, [text, "x"], [[Cell(text), Cell("1")]])
    title, _, caption, _, head, _, row = to_markdown(table).splitlines()
    assert (title, caption) == (f"### {shown}", shown)
    assert (head, row) == (f"| {shown} | x |", f"| {shown} | 1 |")


@pytest.mark.parametrize("text", ["# x", "> x", "- x", "+ x", "--- x", "1. x", "12) x", "```x", "   # x", "\t# x"])
def test_a_caption_begins_no_other_block(text: str) -> None:
    caption = markdown_paragraph(text)
    assert caption.replace("\\", "") == text.strip()
    assert re.match(r"\\|\d+\\", caption)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3+HYPERLINK(1)", "'-2+3+HYPERLINK(1)"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "' =1"), (" =1", "' =1"),
        ("a\r\n=1", "a =1"), ("-0.50 [-0.61, -0.40] ±0.1", "-0.50 [-0.61, -0.40] ±0.1"), ("-3 %", "-3 %"), ("–", "–"),
    ],
)  # fmt: skip
def test_a_csv_cell_is_no_formula(text: str, cell: str) -> None:
    table = Table("t", "t", "", [text, "x"], [[Cell(text), Cell("1")]])
    assert list(csv.reader(io.StringIO(to_csv(table)))) == [[cell, "x"], [cell, "1"]]


def test_latex_has_no_control_characters() -> None:
    assert escape_latex("a\x1b[31m\nb") == r"a\textbackslash{}x1b[31m b"
