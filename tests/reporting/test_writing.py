"""A report's files: what each of them holds decides whether it is written, not what else was."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgq_bench.cards import content_root
from fgq_bench.commands.reports import render
from fgq_bench.files import write_text
from fgq_bench.reporting.figures.saving import new_figure, save_figure
from fgq_bench.reporting.writing import File, describe, write_file

RESULTS = content_root() / "reports" / "latest" / "results"


def test_a_file_is_written_where_its_content_differs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.md"
    assert write_file(path, b"one") == File(path, True)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert write_file(path, b"one") == File(path, False)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write_file(path, b"two") == File(path, True)
    assert path.read_bytes() == b"two"


def test_what_is_said_of_the_files(tmp_path: Path) -> None:
    stem = tmp_path / "fgq-1.x"
    tables = [File(tmp_path / f"fgq-1.x.{ending}", False) for ending in ("md", "csv")]
    assert describe(stem, tables) == f"up to date: {stem}.{{md,csv}}"
    figures = [File(tmp_path / "figures" / f"fgq-1.x.{ending}", ending == "pdf") for ending in ("png", "pdf")]
    assert describe(stem, tables + figures) == f"wrote {stem}.{{md,csv}} and 2 figures"


@pytest.mark.parametrize("text", ["$\\frac{$", "a$b$c", "$x", "\\$"])
def test_a_name_in_a_figure_is_no_formula(tmp_path: Path, text: str) -> None:
    figure, ((axis,),) = new_figure(1, 1, 5, 4)
    axis.errorbar([1, 2], [1, 1000], label=text)
    axis.set_yscale("log")
    axis.set_xticks([1, 2], [text, "plain"])
    axis.set_title(text)
    axis.legend()
    figure.suptitle(text)
    assert all(file.changed for file in save_figure(figure, tmp_path / "f"))


def test_figures_that_were_lost_are_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def report() -> str:
        render("fgq-1", RESULTS, tmp_path, "md", None, None, False)
        return capsys.readouterr().out

    assert report() == f"wrote {tmp_path / 'fgq-1'}.{{md}} and 2 figures\n"
    figures = sorted((tmp_path / "figures").iterdir())
    whole = [path.read_bytes() for path in figures]
    figures[0].unlink()
    write_text(figures[1], "half")
    assert report().startswith("wrote"), "the table is as it should be, the figures are not"
    assert [path.read_bytes() for path in figures] == whole
    assert report() == f"up to date: {tmp_path / 'fgq-1'}.{{md}} and 2 figures\n"
