"""What decides the last bits is another key (times), another line (scores), and nothing that differs in it is reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stored import scored

from fgq_bench import compiling, numerics, runner
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.commands.reports import copy_results
from fgq_bench.compiling import compiled
from fgq_bench.cost import Quantization
from fgq_bench.latency.cases import Case
from fgq_bench.latency.harness import empty_result
from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.vggt import VGGT
from fgq_bench.numerics import computed_on, in_words
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.predictions import predict
from fgq_bench.processor import instruction_set
from fgq_bench.reporting.latency.selection import Setting
from fgq_bench.reporting.rows import RowText
from fgq_bench.reporting.tables import Row, _machines
from fgq_bench.results import Result, Store
from fgq_bench.runner import Sweep, Workspace

CPU = torch.device("cpu")
Change = Callable[[pytest.MonkeyPatch], None]
CHANGES: dict[str, Change] = {
    "less than torch's best loops": lambda m: m.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT"),
    "oneDNN held back": lambda m: m.setenv("ONEDNN_MAX_CPU_ISA", "AVX2"),
    "another processor of the same name": lambda m: m.setattr(numerics, "cpu_model", lambda: "AuthenticAMD 25/1/1"),
    "other threads": lambda m: m.setattr(torch, "get_num_threads", lambda: 64),
}
EAGER: dict[str, Change] = {"not compiled": lambda m: m.setattr(numerics, "is_compiling", lambda: False)}
WAITING: dict[str, Change] = {"threads that spin": lambda m: m.setenv("OMP_WAIT_POLICY", "ACTIVE")}
ALL, OF_TIMES = CHANGES | EAGER, CHANGES | WAITING
anything = pytest.mark.parametrize("change", list(ALL.values()), ids=list(ALL))
of_times = pytest.mark.parametrize("change", list(OF_TIMES.values()), ids=list(OF_TIMES))


@pytest.fixture
def run(micro: VGGT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """RTN on one sequence."""
    monkeypatch.setattr(numerics, "is_compiling", lambda: True)
    save_model(micro, tmp_path / "micro.safetensors")
    checkpoint = str(tmp_path / "micro.safetensors")
    request = Request(["rtn"], ["w4a4"], ["procedural-objects"], ["pose"], limit=1, checkpoint=checkpoint)
    return plan(request, LoadedModel.load(request))[0]


@of_times
def test_times_of_another_machine_have_another_key_and_another_table(
    change: Change, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)

    def cells() -> tuple[Result, Result]:
        asked = Quantization("vggt-tiny", None, "cpu", torch.get_num_threads(), True, run.method, run.scheme, "aa", 0, {}, None, {})  # fmt: skip
        case = Case("model", "1x56", {}, lambda: {})
        return asked.empty_result(), empty_result(case, {"name": "vggt-tiny"}, {"backend": "cpu"}, CPU)

    before = cells()
    change(monkeypatch)
    after = cells()
    assert all(a.key != b.key for a, b in zip(before, after, strict=True))
    assert Setting.of(before[1]) != Setting.of(after[1])
    assert Setting.of(before[1]).machine != Setting.of(after[1]).machine
    assert Setting.of(before[1]).slug != Setting.of(after[1]).slug


@anything
def test_scores_keep_their_key_and_nothing_of_another_machine_goes_into_them(
    change: Change, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    compile_model = compiling.compile_model

    def compiling_noted(*arguments: Any) -> Any:
        made.append("compiled")
        return compile_model(*arguments)

    def predicting_noted(*arguments: Any) -> Any:
        made.append("predicted")
        return predict(*arguments)

    monkeypatch.setattr(compiling, "compile_model", compiling_noted)
    monkeypatch.setattr(runner, "predict", predicting_noted)
    workspace, before = Workspace(tmp_path / "out"), [cell.key for cell in run.cells()]
    for _ in range(2):
        assert not Sweep(workspace, "always").execute([run]).failed
    assert made == ["compiled", "predicted"]
    change(monkeypatch)
    assert not Sweep(workspace, "always").execute([run]).failed
    assert made == ["compiled", "predicted"] * 2
    assert [cell.key for cell in run.cells()] == before


@anything
def test_statistics_of_another_machine_are_captured_again(
    change: Change, data: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numerics, "is_compiling", lambda: True)
    data.keep("x", {"a": torch.ones(2)})
    again = Calibration(data.model, "hash", data.clips, "float32", data._folder)
    change(monkeypatch)
    assert not again.holds("x")
    again.keep("x", {"a": torch.ones(2)})
    assert again.holds("x")


@anything
def test_a_table_says_what_its_scores_were_computed_on(
    change: Change, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = Store(tmp_path / "results"), RowText.parse("r", "rtn w4a4")
    (cell,) = (scored(each.conditions, [{"sequence": run.dataset.sequences()[0]}]) for each in run.cells())

    def sentence(of: Store) -> str:
        return _machines([Row.read(asked, [each], of) for each in (run, replace(run, scope="aa+camera"))])

    store.put(cell, {})
    assert sentence(store) == ""  # what was stored before it was noted
    first = in_words(computed_on(CPU))
    store.put(cell, {"computed_on": computed_on(CPU)})
    assert sentence(store) == f" Computed on {first}."
    copy_results([cell], store, tmp_path / "copy")
    assert sentence(Store(tmp_path / "copy" / "results")) == sentence(store)
    change(monkeypatch)
    (other,) = (scored(each.conditions, cell.sequences) for each in replace(run, scope="aa+camera").cells())
    store.put(other, {"computed_on": computed_on(CPU)})
    both = "; ".join(sorted([first, in_words(computed_on(CPU))]))
    assert sentence(store) == f" Computed on 2 machines that round differently: {both}."


def test_an_artefact_from_before_is_taken_as_it_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(tmp_path, tmp_path, run)
    for note in tmp_path.rglob("artifacts*.meta.json"):
        note.write_text('{"seconds": 1.0}')
    monkeypatch.setattr(compiling, "compile_model", lambda *_: pytest.fail("compiled again"))
    compiled(tmp_path, tmp_path, run)


def test_the_instruction_set_names_what_is_used_what_there_is_and_what_is_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fgq_bench import processor

    about = {"flags": "fpu sse avx2 avx512f avx512_vnni", "model name": "AMD EPYC", "vendor_id": "AuthenticAMD"}
    monkeypatch.setattr(processor, "_about", lambda: {**about, "cpu family": "25", "model": "17", "stepping": "1"})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert instruction_set() == "AVX2; avx2 avx512f avx512_vnni; ONEDNN_MAX_CPU_ISA=SSE41"
    assert processor.cpu_model() == "AuthenticAMD 25/17/1"
    assert processor.cpu_name() == "AMD EPYC"
    monkeypatch.setattr(processor, "_about", dict)
    assert processor.cpu_model()
    assert processor.cpu_name()
