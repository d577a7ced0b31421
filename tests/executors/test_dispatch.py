"""Who does what next: calibration first, artefacts once, lost orders again elsewhere, failed ones with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fgq_bench.errors import UserError
from fgq_bench.executors.admission import Admission, available_bytes
from fgq_bench.executors.base import Patience
from fgq_bench.executors.bundle import Bundle, hash_files
from fgq_bench.executors.dispatch import Dispatch, Task
from fgq_bench.executors.plan import make_tasks
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.runner import Workspace, split_pending

REQUEST = Request(
    ["rtn", "gptq"], ["w4a4"], ["procedural-objects", "procedural-rooms"], ["pose"], limit=1, calibration=None
)


@pytest.fixture
def tasks(tmp_path: Path, manifest: Path) -> list[Task]:
    request = replace(REQUEST, calibration=str(manifest))
    workspace = Workspace(tmp_path)
    _, pending = split_pending(plan(request, LoadedModel.load(request)), workspace.store, "failed")
    return make_tasks(pending, workspace, "stop", "cpu")


def labels(tasks: list[Task]) -> list[str]:
    return [task.order.label for task in tasks]


def test_what_waits_for_a_calibration_comes_after_it(tasks: list[Task]) -> None:
    assert labels(tasks)[0] == "calibration of vggt-tiny on four"
    dispatch = Dispatch(tasks, Patience())
    given = [dispatch.give(name, []) for name in "abcd"]
    assert [task and task.order.label for task in given] == [
        "calibration of vggt-tiny on four", "rtn w4a4 on procedural-objects", "rtn w4a4 on procedural-rooms", None,
    ]  # fmt: skip
    dispatch.settle("a")
    assert (task := dispatch.give("a", [])) is not None and task.order.label == "gptq w4a4 on procedural-objects"


def test_a_worker_goes_on_with_its_own_artefact(tasks: list[Task]) -> None:
    dispatch = Dispatch(tasks[1:], Patience())  # the calibration is stored
    given = [dispatch.give(name, []) for name in "ab"]
    assert [task and task.order.label for task in given] == [
        "rtn w4a4 on procedural-objects", "gptq w4a4 on procedural-objects",
    ]  # fmt: skip
    dispatch.settle("b")
    assert (task := dispatch.give("b", [])) is not None and task.order.label == "gptq w4a4 on procedural-rooms"


def test_lost_is_tried_elsewhere_and_then_fails_with_the_reason(tasks: list[Task]) -> None:
    (only,) = [task for task in tasks if task.order.label == "rtn w4a4 on procedural-rooms"]
    dispatch = Dispatch([only], Patience(retries=1))
    assert dispatch.give("a", ["b"]) is only
    assert dispatch.lose("a", "killed") == (only, None)
    assert dispatch.give("a", ["b"]) is None
    assert dispatch.give("b", ["a"]) is only
    dispatch.put_back("b")  # the scheduler's fault: no attempt
    assert dispatch.give("a", []) is only, "there is nobody else"
    _, failed = dispatch.lose("a", "killed")
    assert failed is not None
    assert [(cell.status, cell.error) for cell in failed.results] == [("failed", "worker lost: killed (tried 2 times)")]
    assert dispatch.done


def test_a_calibration_that_is_lost_for_good_holds_nobody_up(tasks: list[Task]) -> None:
    dispatch = Dispatch(tasks, Patience(retries=0))
    dispatch.give("a", [])
    _, failed = dispatch.lose("a", "killed")
    assert failed is None
    given = [dispatch.give(name, []) for name in "abcd"]
    assert None not in given


def test_memory_decides_who_starts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16 kB\nMemAvailable:       8 kB\n")
    assert available_bytes(meminfo) == 8192
    admission = Admission(9000, meminfo)
    assert admission.allows([]) and not admission.allows([9000])
    admission.learn(8192)
    assert admission.allows([8192]), "the other one has taken what it will take"
    assert not admission.allows([8191]) and not admission.allows([None]), "it has not yet"
    admission.learn(8193)
    assert admission.allows([]) and not admission.allows([8193])
    assert Admission(9000, tmp_path / "none").allows([None])


def test_bundles_arrive_as_they_left(tmp_path: Path) -> None:
    (tmp_path / "from" / "sub").mkdir(parents=True)
    (tmp_path / "from" / "sub" / "x.safetensors").write_bytes(b"abc")
    bundle = Bundle.pack(tmp_path / "from")
    bundle.unpack(tmp_path / "to")
    assert Bundle.pack(tmp_path / "to") == bundle
    (tmp_path / "to" / "sub" / "x.safetensors").write_bytes(b"abd")
    bundle.unpack(tmp_path / "to")
    assert Bundle.pack(tmp_path / "to") == bundle, "a damaged file is repaired"
    with pytest.raises(UserError, match="damaged on its way"):
        Bundle({"sub/x.safetensors": b"abd"}, bundle.hash).unpack(tmp_path / "to")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/tmp/x"])
def test_bundles_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    files = {name: b"x"}
    with pytest.raises(UserError, match="leads out of its folder"):
        Bundle(files, hash_files(files)).unpack(tmp_path / "to")
    assert not list(tmp_path.rglob("x"))
