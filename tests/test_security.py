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
from fgq_bench.commands.comparison import compare_rows
from fgq_bench.commands.reports import render
from fgq_bench.errors import BadData, UserError
from fgq_bench.files import write_json
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.reading import read_picture
from fgq_bench.models.hub_cache import find_locally
from fgq_bench.registry import find_method, parse_overrides
from fgq_bench.reporting.formats import to_latex, to_markdown
from fgq_bench.reporting.missing import find_gaps
from fgq_bench.reporting.page.page import render_page
from fgq_bench.reporting.page.tables import Report, tables_section
from fgq_bench.reporting.reports import build_report, find_report
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


REPORT = """name = "mine"
title = "t"
summary = "s"
model = "vggt-tiny"
scope = "aa"
presets = []
datasets = ["{dataset}"]
rows = ["{row}"]
columns = ["pose.auc@30"]
"""


def write_evil(folder: Path) -> None:
    """Cards of a method and of a data set whose module says that it was imported."""
    (folder / "evil.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    for kind, name, code in (("methods", "rtn", "quantizer"), ("datasets", "procedural-rooms", "loader")):
        text = (content_root() / kind / f"{name}.toml").read_text().replace(f'name = "{name}"', f'name = "evil-{kind}"')
        lines = [line for line in text.splitlines() if not line.startswith(f"{code} =")]
        (folder / f"evil-{kind}.toml").write_text(f'{code} = "evil:Evil"\n' + "\n".join(lines))


@pytest.mark.parametrize(
    ("key", "row", "dataset"),
    [
        ("rows", "evil-methods.toml w4a4", "procedural-rooms"),
        ("rows", "./evil-methods.toml:preset w4a4", "procedural-rooms"),
        ("datasets.0", "rtn w4a4", "evil-datasets.toml"),
        ("datasets.0", "rtn w4a4", "../x/evil-datasets"),
    ],
)
def test_a_report_brings_in_no_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, row: str, dataset: str
) -> None:
    write_evil(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.toml").write_text(REPORT.format(row=row, dataset=dataset))
    with pytest.raises(UserError, match=rf"^mine\.toml:\d+: key '{key}': .* is a file, where only the name of a card"):
        find_report("mine.toml")
    assert not Path("imported").exists()


@pytest.mark.parametrize("change", [{"beside": {"CO3Dv2": "evil.toml"}}, {"models": {"pi3": {"beside": {"x": "a/b"}}}}, {"protocol": "evil.toml"}])  # fmt: skip
def test_a_papers_report_names_data_sets_and_protocols(change: dict[str, Any]) -> None:
    values = load_card(ReportCard, "fgq-1").model_dump()
    with pytest.raises(ValueError, match="is a file, where only the name of a card"):
        ReportCard.model_validate({**values, **change})


def test_a_card_that_is_called_by_its_name_runs_this_packages_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evil(tmp_path)
    for kind, card in (("methods", MethodCard), ("datasets", DatasetCard)):
        (tmp_path / kind).mkdir()
        (tmp_path / f"evil-{kind}.toml").rename(tmp_path / kind / f"evil-{kind}.toml")
        monkeypatch.setattr("fgq_bench.cards.content_root", lambda: tmp_path)
        with pytest.raises(UserError, match=rf"evil-{kind}\.toml: key '{card.code}': 'evil:Evil' is no module of fgq_"):
            load_card(card, f"evil-{kind}")
        path = str(tmp_path / kind / f"evil-{kind}.toml")
        assert getattr(load_card(card, path), str(card.code)) == "evil:Evil", "named on the command line"


def test_rendering_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card may name a model that is not on this machine."""
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: asked.append("download"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    path = tmp_path / "mine.toml"
    path.write_text(REPORT.format(row="rtn w4a4", dataset="procedural-rooms").replace("vggt-tiny", "vggt-1b"))
    says = "^facebook/VGGT-1B: not on this machine, and reports download nothing"
    with pytest.raises(UserError, match=says):
        render(str(path), LATEST / "results", None, "md", None, None, False)
    with pytest.raises(UserError, match=says):
        compare_rows("rtn w4a4", "rtn w4a4", str(path), None, LATEST / "results", {}, False)
    (gap,) = find_gaps([find_report(str(path))], Store(LATEST / "results"), None, {})
    assert gap.why.startswith("facebook/VGGT-1B: not on this machine")
    assert not asked


def test_a_model_in_the_cache_is_read_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "model.safetensors"
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda name, file: str(kept) if name == "a/b" else None
    )
    assert find_locally("a/b") == str(kept)
    assert find_locally(str(tmp_path)) == str(tmp_path)
