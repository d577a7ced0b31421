"""Files from others are data: they name no file outside their folder, start nothing, and are shown as they are."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_sample import LATEST, plan_summary
from PIL import Image

from fgq_bench import cli
from fgq_bench.calibration.manifest import Clip, Manifest, load_manifest
from fgq_bench.cards import DatasetCard, MethodCard, ReportCard, content_root, load_card, parse_card
from fgq_bench.errors import BadData, UserError
from fgq_bench.files import write_json
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.reading import read_picture
from fgq_bench.registry import find_method, parse_overrides
from fgq_bench.reporting.formats import to_latex, to_markdown
from fgq_bench.reporting.page.page import render_page
from fgq_bench.reporting.page.tables import Report, tables_section
from fgq_bench.reporting.reports import build_report
from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.results import Result, Store, content_key

SOURCES = sorted((content_root() / "fgq_bench").rglob("*.py"))
LEAVING = ["../datasets/dtu", "protocols/fgq", "..", "", "a\0b", "a\nb", "/etc/passwd", "a\\b"]
SAFE = {"load": {"torch": ("weights_only", True), "np": ("allow_pickle", False)}}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_unpickles_evaluates_or_starts_a_shell(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "marshal", "shelve", "dill", "joblib", "yaml", "tarfile"}
        if isinstance(node, ast.Call):
            options = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
            assert "shell" not in options
            if isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "__import__")
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                module, function = node.func.value.id, node.func.attr
                assert (module, function) not in {("os", "system"), ("os", "popen"), ("torch", "jit")}
                if function == "load" and module in ("torch", "np"):
                    option, value = SAFE["load"][module]
                    assert options.get(option) is value, f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", LEAVING)
def test_a_card_or_manifest_is_named_not_pathed(name: str) -> None:
    with pytest.raises(UserError, match="unknown dataset"):
        load_card(DatasetCard, name)
    with pytest.raises(UserError, match="unknown calibration manifest"):
        load_manifest(name)


def method_card(folder: Path, **changes: Any) -> Path:
    text = (content_root() / "methods" / "rtn.toml").read_text().replace('name = "rtn"', 'name = "mine"')
    for key, value in changes.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
        text = f"{key} = {json.dumps(value)}\n" + "\n".join(lines) + "\n"
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("preset", ["../../evil", "a/b", ".."])
def test_a_preset_cannot_leave_the_store(tmp_path: Path, preset: str) -> None:
    path = method_card(tmp_path)
    path.write_text(path.read_text() + f'\n[presets."{preset}"]\n')
    with pytest.raises(UserError, match=r"mine\.toml:\d+: key 'presets': .*cannot be part of a file's name"):
        parse_card(MethodCard, path)


@pytest.mark.parametrize(
    "code", ["subprocess:Popen", "os:system", "no_such_module:X", "fgq_bench.cards:Card", "", "os"]
)
def test_a_card_names_a_quantizer_or_a_loader_and_no_other_code(tmp_path: Path, code: str) -> None:
    with pytest.raises(UserError, match=r"^method mine: '.*' (is no Quantizer|cannot be imported)"):
        find_method(str(method_card(tmp_path, quantizer=code))).quantizer()
    card = load_card(DatasetCard, "procedural-rooms").model_copy(update={"loader": code})
    with pytest.raises(UserError, match=r"^data set procedural-rooms: '.*' (is no Dataset|cannot be imported)"):
        open_dataset(card)


def test_a_manifest_cannot_bring_in_a_card(tmp_path: Path) -> None:
    card = tmp_path / "procedural-rooms.toml"
    card.write_text((content_root() / "datasets" / "procedural-rooms.toml").read_text())
    manifest = Manifest("evil", "random", 0, (Clip(str(card), "a", ("0",)),), ((str(card), "0"),))
    with pytest.raises(UserError, match="is not the name of a data set"):
        manifest.save(tmp_path / "evil.json")
    write_json(tmp_path / "evil.json", manifest.to_dict())
    with pytest.raises(UserError, match=r"evil\.json: not a calibration manifest .*is not the name of a data set"):
        load_manifest(str(tmp_path / "evil.json"))


@pytest.mark.parametrize("part", ["../../x", "/tmp/x", "..", "a\0b"])
def test_a_foreign_result_cannot_leave_the_output(tmp_path: Path, part: str) -> None:
    stored = next(path for path in sorted((LATEST / "results").rglob("*.json")) if "pose" in path.parts)
    values = json.loads(stored.read_text())
    values["conditions"]["dataset"]["name"] = part
    values["key"] = content_key(values["conditions"])
    with pytest.raises(UserError, match="cannot be the name of a file"):
        Result(**values).path()
    (tmp_path / stored.name).write_text(json.dumps(values))
    with pytest.raises(UserError, match="cannot be the name of a file"):
        Store(tmp_path).all()


@pytest.mark.parametrize("kind", ["eps", "tiff", "bmp", "ppm", "gif"])
def test_a_picture_of_another_kind_starts_no_decoder(tmp_path: Path, kind: str) -> None:
    """Pillow hands EPS to Ghostscript whatever the file is called."""
    path = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(path, format=kind)
    for read in (read_picture, picture_size):
        with pytest.raises(BadData, match="not a readable picture"):
            read(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "--results", "$(touch pwned); touch pwned"],
        ["run", "-m", "rtn", "-b", "w4a4", "-d", "dtu", "--root", "dtu=`touch pwned`"],
        ["run", "-m", "rtn", "-b", "w4a4", "-d", "procedural-rooms", "--checkpoint", "; touch pwned"],
        ["check", "folder", "--root", "| touch pwned"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_names_are_data_never_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fgq-bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_an_output_folder_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = "out; touch pwned $(touch pwned)"
    monkeypatch.setattr("sys.argv", ["fgq-bench", "audit", "-o", folder])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert [path.name for path in tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize("text", ["alpha=nan", "alpha=inf", "alpha=-inf"])
def test_options_are_finite(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="must be a finite number"):
        parse_overrides([text])
    path = method_card(tmp_path)
    path.write_text(path.read_text() + f"\n[options]\n{text}\n")
    with pytest.raises(UserError, match=r"mine\.toml:\d+: key 'options\.alpha"):
        parse_card(MethodCard, path)


EVIL = "</script><script>alert(1)</script>"
SPECIAL = r"\input{/etc/passwd} % & _ # $ ^ ~ {"


def test_a_card_called_script_is_shown_as_it_is() -> None:
    card, runs = plan_summary()[0]
    evil = card.model_copy(update={"name": "<script>", "title": EVIL, "summary": EVIL})
    assert isinstance(evil, ReportCard)
    shown = replace(build_report(evil, runs, Store(LATEST / "results")))
    page = render_page([tables_section([Report(evil.name, evil.title, evil.summary, shown.tables)])])
    assert page.count("<script") == page.count("</script>") == 2  # the page's own: data and script
    assert "alert(1)" in page


def test_latex_prints_what_a_card_says() -> None:
    table = Table("a}b \\c", SPECIAL, SPECIAL, [SPECIAL, "x"], [[Cell(SPECIAL + "\n\nnext"), Cell("1")]])
    text = to_latex(table)
    assert r"\input" not in text
    assert "\n\n" not in text
    assert (
        text.count(r"\textbackslash{}input\{/etc/passwd\} \% \& \_ \# \$ \textasciicircum{} \textasciitilde{} \{") == 3
    )
    assert r"\label{tab:a-b-c}" in text


def test_markdown_cells_stay_in_their_row() -> None:
    table = Table("t", "t", "", ["a|b", "x\ny"], [[Cell("1 | 2\n3"), Cell("4")]])
    assert to_markdown(table).splitlines()[4:] == [r"| a\|b | x y |", "|---|---|", r"| 1 \| 2 3 | 4 |"]
