"""The command line as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from fgq_bench import cards, cli
from fgq_bench.errors import UserError

VERBS = [
    "list", "show", "run", "run-all", "report", "audit", "compare", "quantize", "evaluate", "manifest", "calibrate", "fisher", "sensitivity",
    "fisher-validity", "train-tiny", "check", "frames",
    "inspect", "latency", "cost", "parity", "doctor",
]  # fmt: skip
TASKS = ["-t", "pose", "-t", "depth", "-t", "agreement"]
RTN = ["run", *TASKS, "-m", "rtn", "-b", "w4a4", "-d", "procedural-objects", "--limit", "1"]


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str) -> None:
    assert "Usage" in call(verb, "--help")


def test_help_does_not_import_torch() -> None:
    code = "import sys; import fgq_bench.cli as c; c.app(['--help'], standalone_mode=False); sys.exit(bool({'torch', 'dask'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("kind", ["methods", "datasets", "models", "reports", "calibrations", "tasks", "backends"])
def test_list(kind: str) -> None:
    entries = json.loads(call("list", kind, "--json"))
    assert all(entry["name"] and entry["summary"] for entry in entries)
    assert entries[0]["name"] in call("list", kind)


def test_show_finds_any_kind() -> None:
    assert json.loads(call("show", "rtn", "--json"))["methods"]["algorithm"] == 1
    assert json.loads(call("show", "vggt-tiny", "--json"))["models"]["config"]["dim"] == 192


def test_contact_sheet(tmp_path: Path) -> None:
    call("show", "procedural-rooms", "--figure", tmp_path / "rooms.png")
    assert (tmp_path / "rooms.png").read_bytes().startswith(b"\x89PNG")


def test_run_json_then_everything_is_stored(tmp_path: Path) -> None:
    rows = json.loads(call(*RTN, "--output", tmp_path, "--json"))
    assert [row["task"] for row in rows] == ["pose", "depth", "agreement"]
    assert {row["status"] for row in rows} == {"ok"}
    assert "0 cells computed, 3 already stored" in call(*RTN, "--output", tmp_path)
    plan = json.loads(call(*RTN, "--output", tmp_path, "--dry-run", "--json", "-b", "w8a8"))
    assert plan["stored"] == 3
    assert plan["pending"][0]["cells"] == 3
    assert plan["artefacts"] == 1 and plan["artefacts_MB"] > 1
    assert plan["pending"][0]["hours"] > 0 and plan["runs_without_an_estimate"] == 0
    next(path for path in (tmp_path / "results").rglob("rtn*.json") if ".meta." not in path.name).write_text("{")
    assert json.loads(call(*RTN, "--output", tmp_path, "--dry-run", "--json", "-b", "w8a8"))["pending"], (
        "an estimate only"
    )


def test_quantize_then_evaluate(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    assert "total_bf16" in call("quantize", "-m", "rtn", "-b", "w4a4", "-o", path)
    scores = json.loads(call("evaluate", path, *TASKS, "-d", "procedural-objects", "--limit", "1", "--json"))
    run = json.loads(call(*RTN, "--output", tmp_path / "runs", "--json"))
    assert scores == {row["task"]: row["metrics"] for row in run}


def test_a_static_scheme_is_calibrated_on_the_models_own_manifest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def quantize(*arguments: object) -> None:
        raise UserError(f"asked for {arguments[6]}")

    monkeypatch.setattr("fgq_bench.api.quantize", quantize)
    for scheme, asked in (("w4a4", "none"), ("w4a4-astatic", "procedural-64x4")):
        with pytest.raises(UserError, match=f"asked for {asked}"):
            call("quantize", "-m", "rtn", "-b", scheme, "-o", tmp_path / "m.safetensors")


def test_one_task_alone(tmp_path: Path) -> None:
    for task in ("pose", "depth", "pointmap", "trajectory", "agreement"):
        arguments = ["run", "-t", task, "-m", "rtn", "-b", "w4a4", "-d", "procedural-rooms", "--limit", "1"]
        rows = json.loads(call(*arguments, "--output", tmp_path / task, "--json"))
        assert [(row["task"], row["status"]) for row in rows] == [(task, "ok")]


CARD = """
name = "small"
title = "Small"
summary = "A report for tests."
model = "vggt-tiny"
datasets = ["procedural-objects"]
scope = "aa"
presets = ["quick"]
rows = ["fp w16a16", "rtn w4a8", "gptq w4a8", "gptq w4a8 damping=9.5"]
pictures = ["fp w16a16", "gptq w4a8 damping=9.5"]
sequences = 4
columns = ["pose.auc@30", "agreement.depth"]
"""


@pytest.fixture
def small_report(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's content with one small report in the place of all of them."""
    import_module("fgq_bench.reporting.page.page")  # what reads published numbers keeps the project's own folder
    root, content = tmp_path_factory.mktemp("content"), cards.content_root()
    for folder in ("methods", "datasets"):
        (root / folder).symlink_to(content / folder)
    (root / "reports").mkdir()
    (root / "reports" / "small.toml").write_text(CARD)
    monkeypatch.setattr(cards, "content_root", lambda: root)


@pytest.mark.usefixtures("small_report")
def test_run_all_writes_every_format(tmp_path: Path) -> None:
    call("run-all", "--limit", "1", "--output", tmp_path)
    for ending in ("md", "tex", "csv"):
        assert "RTN" in (tmp_path / "report" / f"small.{ending}").read_text()
    printed = call("report", "small", "--results", tmp_path / "results", "--limit", "1", "--format", "md")
    assert printed.strip() in (tmp_path / "report" / "small.md").read_text()
    rows = json.loads(call("report", "--results", tmp_path / "results", "--limit", "1", "--json"))
    assert [row["Method"] for row in rows[0]["rows"]] == ["Full precision", "RTN", "GPTQ", "GPTQ (damping=9.5)"]


@pytest.mark.usefixtures("small_report")
def test_compare_two_rows(tmp_path: Path) -> None:
    call("run-all", "--output", tmp_path)
    where: list[str | Path] = ["--report", "small", "--results", tmp_path / "results"]
    rows = {row["metric"]: row for row in json.loads(call("compare", "gptq w4a8", "rtn w4a8", *where, "--json"))}
    assert rows["Δ depth (%) ↓"]["difference"].startswith("-0.")
    assert rows["Δ depth (%) ↓"]["better"] == "gptq w4a8"
    assert rows["AUC@30 ↑"]["better"] == "not told apart"
    assert "not told apart" in call("compare", "gptq w4a8", "rtn w4a8", *where)
    changed = json.loads(call("compare", "gptq w4a8", "gptq w4a8 damping=9.5", *where, "--json"))[1]
    assert changed["metric"] == "Δ depth (%) ↓"
    assert not changed["difference"].startswith(("0.00 ", "-0.00 "))
    with pytest.raises(UserError, match="unknown row of report small 'gptq w8a8'"):
        call("compare", "gptq w8a8", "rtn w4a8", *where)
    with pytest.raises(UserError, match="no complete result of 'gptq w4a8' with vggt-tiny on procedural-objects"):
        call("compare", "gptq w4a8", "rtn w4a8", "--report", "small", "--results", tmp_path / "nothing")


def test_manifest_calibrate_and_run_with_it(tmp_path: Path) -> None:
    path = tmp_path / "two.json"
    pools = ["-d", "procedural-objects-pool", "-d", "procedural-rooms-pool"]
    assert "2 clips of 2 frames" in call("manifest", *pools, "--sequences", "2", "--frames", "2", "-o", path)
    printed = call("calibrate", "--calibration", path, "--output", tmp_path / "runs")
    assert "two" in printed and "peak memory" in printed
    kept = len(list((tmp_path / "runs" / "cache" / "calibration").rglob("*.safetensors")))
    assert kept == 32
    run = ["run", "-t", "agreement", "-m", "gptq", "-b", "w3a16", "-d", "procedural-rooms", "--limit", "1"]
    rows = json.loads(call(*run, "--calibration", path, "--output", tmp_path / "runs", "--json"))
    other = json.loads(call(*run, "--output", tmp_path / "runs", "--json"))
    assert rows[0]["status"] == other[0]["status"] == "ok"
    assert rows[0]["key"] != other[0]["key"]
    small = tmp_path / "small.safetensors"
    call("quantize", "-m", "gptq", "-b", "w3a16", "--calibration", path, "-o", small)
    scores = json.loads(call("evaluate", small, "-t", "agreement", "-d", "procedural-rooms", "--limit", "1", "--json"))
    assert scores["agreement"] == rows[0]["metrics"]


def test_calibration_dry_run_of_the_large_model_needs_no_weights() -> None:
    cost = json.loads(call("calibrate", "--dry-run", "--model", "vggt-1b", "--json"))
    tokens = 64 * 4 * (5 + 37 * 37)
    assert cost["statistics_flops"] == 48 * 2.0 * tokens * (3 * 1024**2 + 4096**2)
    assert cost["stream_bytes"] == 2 * tokens * 1024 * 4
    assert cost["seconds"] > 0
    assert "peak memory" in call("calibrate", "--dry-run", "--model", "vggt-1b", "--size", "70", "--frames", "1")


def test_fisher_writes_tensor_summary_and_figure(tmp_path: Path) -> None:
    pool, path = ["-d", "procedural-objects-pool"], tmp_path / "one.json"
    call("manifest", *pool, "--sequences", "1", "--frames", "2", "-o", path)
    call("fisher", "-o", tmp_path / "f", "--estimator", "sum", "--calibration", path)
    tensor = load_file(tmp_path / "f" / "fisher.safetensors")["fisher"]
    assert tensor.shape == (3, 8, 3, 192)
    facts = json.loads((tmp_path / "f" / "fisher.json").read_text())
    assert facts["blocks"][0]["block"] == "aggregator.frame_blocks.0"
    assert sum(facts["share_by_token_type"]["depth"].values()) == pytest.approx(1)
    assert (tmp_path / "f" / "fisher.png").read_bytes().startswith(b"\x89PNG")


def test_sensitivity_writes_errors_protected_blocks_and_figure(tmp_path: Path) -> None:
    pool, path = ["-d", "procedural-objects-pool"], tmp_path / "one.json"
    call("manifest", *pool, "--sequences", "1", "--frames", "2", "-o", path)
    call("sensitivity", "-o", tmp_path / "s", "-b", "w3a16", "--scope", "aa+camera", "--calibration", path)
    facts = json.loads((tmp_path / "s" / "sensitivity.json").read_text())
    parts = facts["parts"]
    assert len(parts) == 8 * 5 + 1 + 6  # blocks with their linears, the camera head with its own
    whole = {part["stage"]: part["camera"] for part in parts if part["kind"] == "all"}
    assert max(whole, key=lambda stage: whole[stage]) == "camera_head"
    blocks = {stage: error for stage, error in whole.items() if stage != "camera_head"}
    assert facts["protected"] == [max(blocks, key=lambda stage: blocks[stage])]
    assert facts["clips"] == 1
    assert (tmp_path / "s" / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


def test_fisher_validity_writes_tables_measurements_and_figure(tmp_path: Path) -> None:
    path, output = tmp_path / "one.json", tmp_path / "v"
    call("manifest", "-d", "procedural-objects-pool", "--sequences", "2", "--frames", "2", "-o", path)
    options: list[str | Path] = [
        "--estimator",
        "sum",
        "--calibration",
        path,
        "--clips",
        "2",
        "--channels",
        "8",
        "--seed",
        "0",
    ]
    call("fisher-validity", "-o", output, *options, "--shared", tmp_path / "shared")
    facts = json.loads((output / "fisher-validity.json").read_text())
    assert facts["conditions"]["clips"] == ["objects-test-0000", "rooms-test-0000"]
    artefacts = facts["cancellation"]["artefacts"]
    assert len(set(artefacts.values())) == 2  # all but the permuted weights'
    own = facts["channels"]["correlation"]["sum, own task"]["depth"]
    assert -1 <= own["ci_low"] <= own["ci_high"] <= 1
    page = (output / "fisher-validity.md").read_text()
    assert f"| {own['value']:.2f} [{own['ci_low']:.2f}, {own['ci_high']:.2f}] |" in page
    assert f"-o {output} --model vggt-tiny --calibration {path}" in page
    assert load_file(output / "measurements.safetensors")["by_channel"].shape == (8, 8, 2, 4)
    assert (output / "fisher-validity.png").read_bytes().startswith(b"\x89PNG")


def test_doctor() -> None:
    found = json.loads(call("doctor", "--json"))
    assert found["devices"][0] == "cpu"
    assert "torch" in call("doctor")


BAD = [
    (["run", "-m", "rnt", "-b", "w4a4", "-d", "procedural-objects"], "unknown method 'rnt'; did you mean rtn?"),
    (["run", "-m", "rtn", "-b", "w4a4g50", "-d", "procedural-objects"], "group size 50 does not divide"),
    (["sensitivity", "-o", "x", "-b", "w16a16"], "--scheme w16a16: quantizes nothing"),
    (["sensitivity", "-o", "x", "-b", "w4a16g50"], "group size 50 does not divide"),
    (["run", "-m", "rtn", "-b", "w4b4", "-d", "procedural-objects"], "scheme 'w4b4' is not of the form"),
    (["run", "-m", "rtn", "-b", "w4a4", "-d", "procedural-object"], "did you mean procedural-object"),
    ([*RTN, "--set", "alpha"], "--set 'alpha': expected KEY=VALUE"),
    ([*RTN, "--root", "procedural-objects=/no/such"], "no such folder"),
    ([*RTN, "--device", "cuda:7"], "--device 'cuda:7': not available here"),
    ([*RTN, "--device", "gpu"], "not a torch device"),
    ([*RTN, "--overwrite", "sometimes"], "use one of failed, never, always"),
    ([*RTN, "--checkpoint", "/no/such.pt"], "/no/such.pt: no such file"),
    ([*RTN, "--output", "/proc/nowhere"], "cannot be written"),
    ([*RTN, "-b", "w8a8-astatic", "--calibration", "everywhere"], "unknown calibration manifest 'everywhere'"),
    (["run", "-m", "fp", "-d", "procedural-rooms", "--set", "bogus=1"], "method fp: option 'bogus'"),
    (["quantize", "-m", "fp", "-b", "w4a4", "-o", "x.safetensors"], "method fp only exists at w16a16, not at w4a4"),
    (["list", "method"], "unknown kind 'method'; did you mean methods"),
    (["show", "fgq2"], "unknown name 'fgq2'"),
    (["show", "rtn", "--figure", "x.png"], "--figure: rtn is not a data set"),
    (["show", "procedural-rooms", "--figure", "x.gif"], "must end in .png or .pdf"),
    (["report", "--results", "/no/such"], "/no/such: no such folder"),
    (["report", "headlin", "--results", "."], "unknown report 'headlin'; did you mean headline"),
    (["quantize", "-m", "rtn", "-b", "w4a4", "-o", "x.bin"], "must end in .safetensors"),
    ([*RTN, "-m", "gptq", "--calibration", "nowhere"], "unknown calibration manifest 'nowhere'"),
    (["run", "-m", "rtn", "-b", "w4a4", "-d", "procedural-rooms-pool"], "is there to calibrate on: it has no task"),
    (["evaluate", "README.md", "-d", "procedural-rooms-pool"], "not a readable safetensors file"),
    (["fisher", "-o", "x", "--estimator", "hessian"], "use one of sum, gauss-newton, pseudo-label"),
    (["fisher-validity", "-o", "x", "--clips", "500"], "--clips 500: procedural-objects would give 250 of its 128"),
    (["fisher-validity", "-o", "x", "--estimator", "hessian"], "use one of sum, gauss-newton, pseudo-label"),
    (["calibrate", "--dry-run", "--size", "100"], "--size 100: must be a multiple of the patch size 14"),
    (["manifest", "-d", "procedural-rooms-pool", "-o", "x.toml"], "must end in .json"),
    (["evaluate", "/no/such.safetensors", "-d", "procedural-rooms"], "no such file"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_mistakes_are_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_exit_code_and_no_traceback() -> None:
    command = [sys.executable, "-m", "fgq_bench", "run", "-m", "rnt", "-b", "w4a4", "-d", "procedural-objects"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: unknown method 'rnt'; did you mean rtn?\n"
