"""A Dask cluster gives this process's bytes without a shared file system, and survives the loss of its parts."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from small_sweep import Small

from fgq_bench.errors import UserError
from fgq_bench.executors.base import Patience
from fgq_bench.executors.choice import Choice, connect
from fgq_bench.executors.dask_cluster import DaskExecutor
from fgq_bench.executors.security import Tls
from fgq_bench.runner import Workspace, split_pending
from tests.cluster_proof.daemons import free_port, patient, start_scheduler, start_worker
from tests.stores import stored

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning")


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Killed at the end."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def once_busy(found: DaskExecutor, act: Callable[[], object]) -> Iterator[None]:
    """Inside, ``act`` happens as soon as a worker of ``found`` has been asked for something."""

    def wait() -> None:
        while not any(each.future for each in found.workers.values()):
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler on the loopback, without workers."""
    port = free_port()
    with running(start_scheduler(port)):
        yield f"tcp://127.0.0.1:{port}"


def executor(address: str, root: Path, patience: Patience = Patience(), shared: bool = False) -> DaskExecutor:  # noqa: B008
    return DaskExecutor(Workspace(root), "stop", patience, lambda: patient(address, 30), shared=shared)


def test_workers_of_a_cluster_give_the_bytes_of_one_process(small: Small, address: str, tmp_path: Path) -> None:
    with running(start_worker(address, tmp_path / "a")), running(start_worker(address, tmp_path / "b")):
        found = executor(address, tmp_path / "out")
        assert small.sweep(found).computed == 6
    assert stored(found.workspace.root) == small.expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cache", "results"]  # and no artefact
    assert list((tmp_path / "out" / "cache" / "calibration").rglob("*.safetensors")), "the statistics came back"


def test_a_shared_folder_is_used(small: Small, address: str, tmp_path: Path) -> None:
    with running(start_worker(address, tmp_path / "a")):
        found = executor(address, tmp_path / "out", shared=True)
        assert small.sweep(found, small.runs[1:2]).computed == 2
    assert len(list((tmp_path / "out" / "artifacts").rglob("*.safetensors"))) == 1


def test_a_killed_worker_is_no_loss(small: Small, address: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(running(start_worker(address, tmp_path / "a")))
        found = executor(address, tmp_path / "out")

        def kill() -> None:
            os.kill(first.pid, signal.SIGKILL)
            stack.enter_context(running(start_worker(address, tmp_path / "b")))

        with once_busy(found, kill):
            outcome = small.sweep(found, small.runs[:2])
    assert not outcome.failed
    assert stored(found.workspace.root).items() <= small.expected.items()
    notes = [p.read_text() for p in tmp_path.rglob("*.meta.json") if "results" in str(p)]
    assert any('"attempts": 2' in note for note in notes)


def test_on_cuda_only_workers_that_announce_a_gpu_are_asked(small: Small, address: str, tmp_path: Path) -> None:
    class Waiting(Exception):
        pass

    def advance(label: str, steps: int) -> None:
        if label == "waiting for workers with GPU":
            raise Waiting

    _, pending = split_pending(small.runs[:1], Workspace(tmp_path / "none").store, "failed")
    with running(start_worker(address, tmp_path / "a")):
        small.sweep(executor(address, tmp_path / "cpu"), small.runs[:1])  # it is there
        found = executor(address, tmp_path / "out")
        found.device = "cuda"
        with pytest.raises(Waiting):
            list(found.perform(pending, advance))
        with running(start_worker(address, tmp_path / "b", "--resources", "GPU=1")):
            (finished,) = found.perform(pending, lambda label, steps: None)
    assert {cell.status for cell in finished.results} == {"failed"}, "it was asked, and has no such device"


def test_a_run_over_its_time_is_failed_with_the_reason(small: Small, address: str, tmp_path: Path) -> None:
    with running(start_worker(address, tmp_path / "a")):
        found = executor(address, tmp_path / "out", Patience(retries=1, time_limit=0.001))
        outcome = small.sweep(found, small.runs[:1])
    assert [cell.error for cell in outcome.failed] == ["worker lost: not done after 0.001 seconds (tried 2 times)"] * 2


def test_a_scheduler_that_comes_back_is_used_again(small: Small, tmp_path: Path) -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        first = stack.enter_context(running(start_scheduler(port)))
        stack.enter_context(running(start_worker(address, tmp_path / "a")))
        found = executor(address, tmp_path / "out")

        def restart() -> None:
            first.kill()
            first.wait()
            stack.enter_context(running(start_scheduler(port)))
            stack.enter_context(running(start_worker(address, tmp_path / "b")))

        with once_busy(found, restart):
            outcome = small.sweep(found, small.runs[:2])
    assert not outcome.failed
    assert stored(found.workspace.root).items() <= small.expected.items()


def test_nobody_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgq_bench.executors.choice.CONNECT", 1.0)
    with pytest.raises(UserError, match=r"--scheduler tcp://127.0.0.1:\d+: no scheduler answers"):
        connect(f"tcp://127.0.0.1:{free_port()}", None)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate that signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=fgq-bench -keyout key.pem -out cert.pem "
        "-addext basicConstraints=critical,CA:TRUE"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return Tls(folder / "cert.pem", folder / "cert.pem", folder / "key.pem")


def test_tls_keeps_others_out(small: Small, tls: Tls, tmp_path: Path) -> None:
    files = ("--tls-ca-file", str(tls.ca), "--tls-cert", str(tls.certificate), "--tls-key", str(tls.key))
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    options = {"--tls-ca": tls.ca, "--tls-cert": tls.certificate, "--tls-key": tls.key}
    choice = Choice("dask", scheduler=address, tls=dict(options))
    with running(start_scheduler(port, *files)), running(start_worker(address, tmp_path / "a", *files)):
        deadline = time.monotonic() + 30
        while True:
            with ExitStack() as stack:
                found = stack.enter_context(choice.open(Workspace(tmp_path / "out"), "stop", "cpu"))
                try:
                    assert small.sweep(found, small.runs[:1]).computed == 2
                    break
                except UserError:  # it has not started up yet
                    assert time.monotonic() < deadline
        with pytest.raises(UserError, match="no scheduler answers"):
            connect(f"tcp://127.0.0.1:{port}", None)
    assert stored(found.workspace.root).items() <= small.expected.items()
