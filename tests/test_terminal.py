"""What commands print: texts as they are, on every terminal, steering none."""

from __future__ import annotations

import ast
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import Progress, ProgressColumn

from fgq_bench import cli
from fgq_bench.cards import content_root
from fgq_bench.commands.printing import print_rows, print_text, progress_bar, working
from fgq_bench.commands.sweeps import _finish
from fgq_bench.errors import one_line
from fgq_bench.runner import Outcome, Workspace
from fgq_bench.terminal import PrintableFormatter, printable, set_up_output

MARKUP = ["o/a[/b]", "o/run[old]", "[red]x[/red]", "a\\[b]", "[link=http:x]y[/link]", ":smile:", "[/]"]
STEERING = "a\x1b[31mred\x1b]0;title\x07\r\b\x9b2Jz\u202e"
SHOWN = r"a\x1b[31mred\x1b]0;title\x07\r\x08\x9b2Jz\u202e"


def test_printable_shows_what_steers_as_its_code() -> None:
    assert printable(STEERING) == SHOWN
    assert printable("Δ – π³ 深度 é") == "Δ – π³ 深度 é"
    assert printable("a\nb\udcff") == r"a\nb\udcff"
    assert printable("a\nb\t", keep="\n") == "a\nb\\t"


@pytest.mark.parametrize("text", MARKUP)
def test_a_users_text_is_no_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_text(f"wrote {text}", "red")
    assert capsys.readouterr().out == f"wrote {text}\n"
    print_rows(text, [{text: text}])
    assert capsys.readouterr().out.count(text) == 3
    print_rows(text, [])
    assert capsys.readouterr().out == f"{text}: none\n"
    assert _finish(Outcome(), Workspace(Path(text)), quiet=False) == 0
    assert f"results in {Path(text) / 'results'}\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", MARKUP)
def test_a_run_s_label_is_no_markup(text: str) -> None:
    bar: Progress = progress_bar("sequences")
    bar.add_task("starting", total=1)
    bar.update(bar.task_ids[0], description=text + STEERING)
    column = bar.columns[0]
    assert isinstance(column, ProgressColumn)
    assert str(column(bar.tasks[0])) == text + SHOWN
    with working(text) as say:
        say(text)


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("x " * 200 + "\nnext")
    assert capsys.readouterr().out.splitlines() == ["x " * 200, "next"]


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", r"\u0394 \u2013 ³"), ("cp1252", r"\u0394 – ³"), ("ascii", r"\u0394 \u2013 \xb3")])  # fmt: skip
def test_an_encoding_that_lacks_a_character_gets_its_code(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding=encoding, write_through=True))
    set_up_output()
    print_text("Δ – ³")
    print_rows("Δ – ³", [{"Δ": "Δ – ³"}])
    with working("Δ – ³"):
        pass
    text = written.getvalue().decode(encoding)
    assert text.startswith(f"{shown}\n")
    assert text.count(shown) == 3


def test_a_command_survives_another_encoding(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "fgq_bench", "show", "pi3"]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=content_root())
    assert done.returncode == 0, done.stderr
    assert b"\\u03c0\xb3" in done.stdout


@pytest.mark.parametrize("text", [*MARKUP, STEERING, "a\nb"])
def test_an_error_is_one_line_of_printable_text(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fgq-bench", "report", "headline", "--root", f"dtu={text}"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {printable(one_line(f'--root dtu={text}: no such folder'))}\n"


def test_a_log_record_steers_nothing() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (STEERING,), None)
    assert PrintableFormatter().format(record) == SHOWN
    set_up_output()
    assert isinstance(logging.lastResort, logging.Handler)
    assert isinstance(logging.lastResort.formatter, PrintableFormatter)


PRINTING = "printing.py"  # the one module that prints
SOURCES = [path for path in sorted((content_root() / "fgq_bench").rglob("*.py")) if path.name != PRINTING]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_else_prints(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}:{node.lineno}"
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("rich"), f"{path}:{node.lineno}"
