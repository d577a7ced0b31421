"""``cost`` as a user meets it: what is measured, in which stages, what is stored, what a failure leaves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from stored import COMPILATION, scored, scored_conditions
from torch import Tensor
from typer.testing import CliRunner

from fgq_bench import cli, cost
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.commands import cost as command
from fgq_bench.errors import UserError
from fgq_bench.latency.breakdown import OTHER, breakdown
from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.vggt import VGGT
from fgq_bench.reporting.costs import read_costs
from fgq_bench.reporting.latency.selection import read_latency
from fgq_bench.results import Result, Store, content_key

CPU = torch.device("cpu")
SECONDS = ["seconds", "cpu_seconds", *(f"{stage}_seconds" for stage in cost.STAGES)]
RTN = ["-m", "rtn", "-b", "w4a4"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, so that none waits for another; not compiled, which takes a minute of every process that trains."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with torch._dynamo.config.patch(disable=True):
        yield


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A manifest of one clip of two frames."""
    path = tmp_path / "one.json"
    pool = ["-d", "procedural-objects-pool", "--sequences", "1", "--frames", "2"]
    assert CliRunner().invoke(cli.app, ["manifest", *pool, "-o", str(path)]).exit_code == 0
    return path


def call(folder: Path, *arguments: object, code: int = 0) -> str:
    texts = ["cost", *map(str, arguments), "-o", str(folder)]
    result = CliRunner().invoke(cli.app, texts, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def instead(monkeypatch: pytest.MonkeyPatch, answer: Callable[[cost.Quantization], cost.Metrics]) -> None:
    """``answer`` measures."""
    monkeypatch.setattr(command, "measure_from_scratch", answer)


@pytest.mark.usefixtures("short")
def test_every_stage_is_paid_for_in_a_process_of_its_own(tmp_path: Path, clip: Path, micro: VGGT) -> None:
    """FGQ comes after FlatQuant, whose statistics it would find if anything were shared."""
    save_model(micro, tmp_path / "micro.safetensors")
    learned: list[object] = ["--checkpoint", tmp_path / "micro.safetensors", "--calibration", clip]
    methods = ["-m", "flatquant", "-m", "fgq", "-b", "w4a4", *learned]
    flatquant, fgq = json.loads(call(tmp_path, *methods, "--json"))
    for row in (flatquant, fgq):
        values = {name: entry["value"] for name, entry in row["metrics"].items()}
        assert [row["metrics"][name]["unit"] for name in SECONDS] == ["seconds"] * len(SECONDS)
        stages = [values[f"{stage}_seconds"] for stage in cost.STAGES]
        assert sum(stages) == pytest.approx(values["seconds"])
        for paid in ("clips", "statistics", "method", "cpu"):
            assert values[f"{paid}_seconds"] > 0
        assert values["compilation_seconds"] == 0
        assert values.get("peak_host_bytes", 1) > 0
        assert "peak_device_bytes" not in values
    assert flatquant["metrics"]["fisher_seconds"]["value"] == 0
    assert fgq["metrics"]["fisher_seconds"]["value"] > 0

    stored = {result.key: result for result in read_costs(Store(tmp_path / "results"))}
    assert [stored[row["key"]].metrics for row in (flatquant, fgq)] == [flatquant["metrics"], fgq["metrics"]]
    conditions = stored[fgq["key"]].conditions
    assert conditions["calibration"]["manifest"] == "one"
    assert conditions["compiled"] is False
    assert conditions["device"]["threads"] == 1
    assert "0 measured, 2 already stored" in call(tmp_path, *methods)


def test_a_failure_is_a_result_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(each: cost.Quantization) -> cost.Metrics:
        asked.append(each.method.label)
        if each.method.label == "quarot":
            raise ValueError("two\nlines")
        if each.method.label == "smoothquant":
            raise UserError("this cannot work")
        return {"seconds": {"value": 1.0, "unit": "seconds"}}

    instead(monkeypatch, answer)
    methods = [*RTN, "-m", "quarot", "-m", "smoothquant"]
    printed = call(tmp_path, *methods, code=1)
    assert "quarot w4a4 failed: ValueError: two\nsmoothquant w4a4 failed: this cannot work\n" in printed
    found = {result.method: result for result in read_costs(Store(tmp_path / "results"))}
    assert [found[name].status for name in ("rtn", "quarot", "smoothquant")] == ["ok", "failed", "failed"]
    assert (found["smoothquant"].error, found["smoothquant"].metrics) == ("this cannot work", {})
    assert "2 measured, 1 already stored" in call(tmp_path, *methods, code=1)
    assert asked == ["rtn", "quarot", "smoothquant", "quarot", "smoothquant"]


def test_measured_again_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((1.0, 2.0))
    instead(monkeypatch, lambda asked: {"seconds": {"value": next(answers), "unit": "seconds"}})
    store = Store(tmp_path / "results")
    values = []
    for arguments, done in (([], 1), ([], 0), (["--overwrite"], 1)):
        assert f"{done} measured, {1 - done} already stored" in call(tmp_path, *RTN, *arguments)
        (result,) = read_costs(store)
        values.append(result.metrics["seconds"]["value"])
    assert values == [1, 1, 2]


def test_what_decides_the_time_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, lambda asked: {})
    call(tmp_path, *RTN)
    call(tmp_path, *RTN, "-b", "w8a8")
    with torch._dynamo.config.patch(disable=True):
        call(tmp_path, *RTN)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    call(tmp_path, *RTN)
    found = [
        (each.conditions["scheme"], each.conditions["compiled"], each.conditions["device"]["threads"])
        for each in read_costs(Store(tmp_path / "results"))
    ]
    assert len(found) == len(set(found)) == 4


def test_costs_and_other_results_do_not_see_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    machine = {"name": "AMD EPYC 7543 (32)", "type": "cpu", "threads": 2}
    method = {**COMPILATION, "method": {"name": "fgq", "algorithm": 1, "options": {}}, "preset": "code"}
    machine_and_software = {"device": machine, "torch": "2.9", "algorithm": 1}
    timing: dict[str, Any] = {"model": COMPILATION["model"], "subject": "model", "case": "1", **machine_and_software}
    timing |= {"variants": {"variants": [], "scope": "aa", "backend": "cpu"}, "frames": 1, "image_size": 84}
    learned = {**method, **machine_and_software, "compiled": False}
    results = [
        Result("calibration", content_key(learned), learned, "ok"),
        Result("latency", content_key(timing), timing, "ok"),
        scored(scored_conditions("pose", **method), [{}]),
    ]
    keys = [result.key[:12] for result in results]
    for result in results:
        store.put(result, {})
    assert [result.path().as_posix() for result in results] == [
        f"vggt-tiny/calibration/amd-epyc-7543-32/fgq+code-w4a4-{keys[0]}.json",
        f"vggt-tiny/latency/amd-epyc-7543-32/model/1-{keys[1]}.json",
        f"vggt-tiny/rooms/pose/fgq+code-w4a4-{keys[2]}.json",
    ]
    assert read_costs(store) == results[:1]
    assert read_latency(store) == results[1:2]
    assert len(store.all()) == 3
    assert store.get(results[0]) == results[0]


@pytest.mark.usefixtures("short")
def test_nothing_is_found_of_earlier_measurements(
    tmp_path: Path, clip: Path, micro: VGGT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets an empty folder, keeps what it makes in there, and the folder goes."""
    save_model(micro, tmp_path / "micro.safetensors")
    folders: list[Path] = []

    def here(measure: Callable[[cost.Quantization, Path], cost.Metrics], asked: cost.Quantization, folder: Path) -> Any:
        assert not list(folder.iterdir())
        folders.append(folder)
        metrics = measure(asked, folder)
        assert {path.name for path in folder.iterdir()} == {"compiled", "shared"}  # compiled: where torch keeps code
        assert len(list(folder.rglob("statistics/*.safetensors"))) == 32
        return metrics

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # put back at the end, as are the fixture's settings
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(cost, "in_fresh_process", here)
    learned = ["--checkpoint", tmp_path / "micro.safetensors", "--calibration", clip]
    call(tmp_path, "-m", "gptq", "-b", "w4a4", "-b", "w3a16", *learned)
    assert len(set(folders)) == 2
    assert not any(folder.exists() for folder in folders)


def test_compiling_is_a_stage() -> None:
    def work() -> None:
        with cost._compilation_labelled():
            torch.compile(lambda x: x.sin() + 1, backend="eager")(torch.ones(3))

    times = breakdown(work, CPU, passes=1, warm=True)
    assert times[cost.COMPILATION] > 0
    assert set(times) == {cost.COMPILATION, OTHER}


def test_what_is_made_once_is_kept(data: Calibration) -> None:
    made: list[int] = []

    def make() -> dict[str, Tensor]:
        made.append(1)
        return {"x": torch.ones(2)}

    assert torch.equal(data.obtain("things/a", make)["x"], data.obtain("things/a", make)["x"])
    assert made == [1]


def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fgq-bench", "cost", "-m", "rnt", "-b", "w4a4", "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: unknown method 'rnt'; did you mean rtn?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "rtn"], "name at least one scheme"),
        ([*RTN, "--device", "cuda:7"], "--device 'cuda:7': not available here"),
        ([*RTN, "--root", "co3dv2-train=."], "--root names 'co3dv2-train', which is not among the data sets"),
        ([*RTN, "--model", "vggt-tinny"], "did you mean vggt-tiny"),
        (["-m", "gptq", "-b", "w4a4", "--calibration", "nowhere"], "unknown calibration manifest 'nowhere'"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(tmp_path, *arguments)
    assert not (tmp_path / "results").exists()


@needs_cuda
def test_device_memory_counts_the_model(tmp_path: Path) -> None:
    (row,) = json.loads(call(tmp_path, *RTN, "--device", "cuda", "--json"))
    assert row["metrics"]["peak_device_bytes"]["value"] > 16e6  # vggt-tiny in fp32
