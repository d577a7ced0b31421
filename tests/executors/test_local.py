"""Local processes give this process's bytes, whatever becomes of them."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_sweep import Small

from fgq_bench.errors import OutputError
from fgq_bench.executors.base import Patience
from fgq_bench.executors.child import Child, Lost
from fgq_bench.executors.choice import Choice
from fgq_bench.executors.local import InProcess, Processes
from fgq_bench.executors.orders import RunOrder
from fgq_bench.executors.plan import make_tasks
from fgq_bench.runner import Workspace, split_pending
from tests.stores import stored


def processes(root: Path, patience: Patience, workers: int = 2) -> Processes:
    return Processes(Workspace(root), "stop", patience, ["cpu"] * workers)


def test_several_processes_give_the_bytes_of_one(small: Small, tmp_path: Path) -> None:
    executor = processes(tmp_path, Patience())
    assert small.sweep(executor).computed == 6
    assert stored(executor.workspace.root) == small.expected
    assert all(not child.alive for child in executor.children.values()), "they end with the sweep"
    notes = [p.read_text() for p in tmp_path.rglob("*.meta.json") if "results" in str(p)]
    assert len(notes) == 6 and all('"attempts": 1' in note for note in notes)


def test_a_killed_worker_is_replaced_and_its_run_done_again(small: Small, tmp_path: Path) -> None:
    executor = processes(tmp_path, Patience(retries=2), 1)
    killed: list[int] = []

    def kill() -> None:
        while not executor.children:
            time.sleep(0.01)
        for _ in range(2):  # the process that starts up, then the one after it
            child = next(iter(executor.children.values()))
            killed.append(child.process.pid)
            os.kill(child.process.pid, signal.SIGKILL)
            while not executor.children or next(iter(executor.children.values())) is child:
                time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert not small.sweep(executor).failed
    killer.join(timeout=10)
    assert len(set(killed)) == 2
    assert stored(executor.workspace.root) == small.expected


def test_one_that_takes_too_long_is_tried_again_and_then_failed(small: Small, tmp_path: Path) -> None:
    executor = processes(tmp_path, Patience(retries=1, time_limit=0.001), 1)
    outcome = small.sweep(executor, small.runs[:1])
    assert [cell.error for cell in outcome.failed] == ["worker lost: not done after 0.001 seconds (tried 2 times)"] * 2
    assert len(stored(executor.workspace.root)) == 2
    assert small.sweep(InProcess(executor.workspace, "stop", Patience())).computed == 6, "failed ones are done again"
    assert stored(executor.workspace.root) == small.expected


def test_one_that_holds_too_much_memory_is_ended(small: Small, tmp_path: Path) -> None:
    executor = processes(tmp_path, Patience(retries=0, memory_limit=10_000_000), 1)  # less than Python with torch
    outcome = small.sweep(executor, small.runs[:1])
    for cell in outcome.failed:
        assert re.fullmatch(
            r"worker lost: it held 0\.\d GB of memory, more than the limit of 0\.01 GB \(tried once\)", cell.error or ""
        )
    assert len(outcome.failed) == len(stored(executor.workspace.root)) == 2


def test_a_worker_imports_nothing_from_where_it_is_started(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file beside somebody's data that is called like a module is not executed."""
    (tmp_path / "queue.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert not small.sweep(processes(tmp_path / "out", Patience(retries=0), 1), small.runs[:1]).failed


def test_another_code_or_model_is_refused(small: Small, tmp_path: Path) -> None:
    _, pending = split_pending(small.runs[:1], Workspace(tmp_path).store, "failed")
    (task,) = make_tasks(pending, Workspace(tmp_path), "stop", "cpu")
    order = task.order
    assert isinstance(order, RunOrder)
    foreign = {
        "the worker runs other code than the client: install the same fgq-bench on both": replace(order, code="0"),
        "the worker's weights of vggt-tiny are not the client's": replace(order, model=replace(order.model, hash="0")),
        "the worker's copy of procedural-objects is not the client's: frames or protocol card differ": replace(
            order, dataset=replace(order.dataset, limit=1)
        ),
    }
    child = Child(tmp_path)
    for reason, other in foreign.items():
        child.send(other, Patience())
        while (message := child.receive(1)) is None:
            pass
        assert message == ("refused", reason)
    child.process.kill()
    with pytest.raises(Lost, match="killed, perhaps for lack of memory"):
        child.receive(10)


def test_a_full_disk_ends_the_sweep(small: Small, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where a folder must be")
    with pytest.raises(OutputError, match="cannot be written"):
        small.sweep(processes(tmp_path, Patience(), 1))


def test_one_worker_without_a_limit_is_this_process(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with Choice().open(workspace, "stop", "cpu") as executor:
        assert isinstance(executor, InProcess)
    with Choice(workers=2).open(workspace, "stop", "cpu") as executor:
        assert isinstance(executor, Processes)
    for limited in (Patience(time_limit=1.0), Patience(memory_limit=4 * 10**9)):
        with Choice(patience=limited).open(workspace, "stop", "cpu") as executor:
            assert isinstance(executor, Processes)
