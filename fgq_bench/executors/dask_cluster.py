"""Dask: workers on other machines, which need no file system in common with the client and may come and go."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, KilledWorker

from fgq_bench.errors import UserError
from fgq_bench.executors.base import Executor, Patience
from fgq_bench.executors.bundle import Bundle
from fgq_bench.executors.dask_worker import Answer, carry_out
from fgq_bench.executors.dispatch import Dispatch, Task, refused
from fgq_bench.executors.orders import CalibrationOrder
from fgq_bench.executors.plan import finished_run, make_tasks
from fgq_bench.runner import Advance, Finished, OnBadData, Pending, Workspace

TICK = 0.05  # s between looks at answers
CENSUS = 1.0  # s between looks at which workers there are
RECONNECT = 600.0  # s to wait for a scheduler that went away
FAILURES = 10  # of the scheduler with no answer between them, before giving up
FETCH = 600.0  # s to fetch an answer
GONE = (OSError, TimeoutError, RuntimeError)  # what a lost scheduler raises, by the moment at which it goes


@dataclass
class _Worker:
    """A Dask worker: its id is its own, an address may be taken over by another."""

    address: str
    future: Future[Answer] | None = None
    has: set[str] = field(default_factory=set)  # keys of calibrations that it was given


class DaskExecutor(Executor):
    """Orders go to Dask workers, one at a time each; answers come back as bytes.

    Each order names its worker, so that Dask itself never repeats one: how often a run was tried, and where, is known
    here. On CUDA only workers that announce the resource ``GPU`` are asked, and use one of it.

    Args:
        connect: opens a client; called again when the scheduler was lost.
        device: torch device on the workers.
        shared: whether workers see the workspace's folder at the same path.
    """

    def __init__(
        self, workspace: Workspace, on_bad_data: OnBadData, patience: Patience, connect: Callable[[], Client],
        device: str = "cpu", shared: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(workspace, on_bad_data, patience)
        self.connect, self.device = connect, device
        self.shared = str(workspace.root.resolve()) if shared else None
        self.sweep = uuid.uuid4().hex
        self.workers: dict[str, _Worker] = {}  # by id
        self.bundles: dict[str, Bundle] = {}  # by the calibration's key
        self._counted = float("-inf")
        self._failures = 0  # of the scheduler since the last answer

    def perform(self, pending: list[Pending], advance: Advance) -> Generator[Finished]:
        """See ``Executor``."""
        if self.shared:
            self.workspace.root.mkdir(parents=True, exist_ok=True)
        dispatch = Dispatch(make_tasks(pending, self.workspace, self.on_bad_data, self.device), self.patience)
        client = self.connect()
        try:
            while not dispatch.done:
                try:
                    if client.status != "running":
                        raise OSError("the scheduler is gone")
                    yield from self._count(client, dispatch)
                    if not self.workers:
                        advance(f"waiting for workers{' with GPU' if self._on_gpus else ''}", 0)
                    self._give(client, dispatch)
                    yield from self._hear(client, dispatch, advance)
                except GONE as error:
                    client = self._again(client, dispatch, error)
                time.sleep(TICK)
        finally:
            for worker in self.workers.values():
                worker.future = None  # releases what is still running
            client.close(timeout=5)

    def _count(self, client: Client, dispatch: Dispatch) -> Generator[Finished]:
        """Take note of workers that came, and of those that went with what they were doing."""
        if time.monotonic() < self._counted + CENSUS:
            return
        self._counted = time.monotonic()
        found = {about["id"]: address for address, about in _census(client).items() if self._takes(about)}
        for name in self.workers.keys() - found.keys():
            future = self.workers[name].future
            if future is not None and future.status == "finished":
                continue  # its answer may have come before it went
            del self.workers[name]
            if name in dispatch.running:
                _, failed = dispatch.lose(name, "its worker left the cluster")
                if failed is not None:
                    yield failed
        for name, address in found.items():
            self.workers.setdefault(name, _Worker(address))

    def _takes(self, about: dict[str, Any]) -> bool:
        return not self._on_gpus or about["resources"].get("GPU", 0) >= 1

    @property
    def _on_gpus(self) -> bool:
        return self.device.startswith("cuda")

    def _give(self, client: Client, dispatch: Dispatch) -> None:
        for name, worker in self.workers.items():
            if name in dispatch.running:
                continue
            task = dispatch.give(name, self.workers.keys() - {name})
            if task is None:
                continue
            bundle = self._bundle(client, task, worker)
            worker.future = client.submit(
                carry_out, task.order, self.patience, bundle, self.shared, self.sweep, pure=False, retries=0,
                workers=[worker.address], resources={"GPU": 1} if self._on_gpus else None,
            )  # fmt: skip

    def _bundle(self, client: Client, task: Task, worker: _Worker) -> Future[Bundle] | None:
        """What ``worker`` still needs to be sent of the calibration that ``task`` reads."""
        if self.shared or task.needs is None or task.needs in worker.has:
            return None
        if task.needs not in self.bundles:
            folder = self.workspace.calibrations / task.needs / "statistics"
            try:
                self.bundles[task.needs] = Bundle.pack(folder)
            except OSError as error:
                raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
        worker.has.add(task.needs)
        sent: Future[Bundle] = client.scatter(self.bundles[task.needs], workers=[worker.address], hash=False)
        return sent

    def _hear(self, client: Client, dispatch: Dispatch, advance: Advance) -> Generator[Finished]:
        for name, task in list(dispatch.running.items()):
            worker = self.workers[name]
            future = worker.future
            if future is None or future.status not in ("finished", "error", "cancelled", "lost"):
                continue
            if future.status in ("cancelled", "lost") and client.status != "running":
                raise OSError("the scheduler is gone")  # which is not the task's fault
            worker.future, self._failures = None, 0
            answer = _answer(future)
            if answer.kind == "lost":
                _, failed = dispatch.lose(name, str(answer.content))
            else:
                dispatch.settle(name)
                failed = refused(task, str(answer.content)) if answer.kind == "refused" else None
                if isinstance(answer.content, Bundle) and isinstance(task.order, CalibrationOrder):
                    answer.content.unpack(self.workspace.calibrations / task.order.key / "statistics")
            if failed is not None:
                yield failed
            if answer.kind == "done" and task.item is not None and isinstance(answer.content, bytes):
                advance(task.order.label, len(task.item.run.dataset.sequences()))
                yield finished_run(task, answer.content, worker.address)

    def _again(self, client: Client, dispatch: Dispatch, error: Exception) -> Client:
        """Another client once the scheduler is back; nothing that it was asked counts as tried."""
        self._failures += 1
        if self._failures > FAILURES:
            raise UserError(f"the cluster fails again and again ({error}); finished cells are stored") from None
        for name in list(dispatch.running):
            dispatch.put_back(name)
        self.workers.clear()
        self._counted = float("-inf")
        end = time.monotonic() + RECONNECT
        client.close(timeout=1)
        while True:
            try:
                return self.connect()
            except UserError:
                if time.monotonic() > end:
                    raise UserError(
                        f"the scheduler is gone ({error}); finished cells are stored: run the same command to go on"
                    ) from None
            time.sleep(1)


def _census(client: Client) -> dict[str, dict[str, Any]]:
    """What the scheduler says of every worker, by address; OSError where it is gone.

    Asked anew: what a client keeps of it (``scheduler_info``) is empty at times, and cut to five workers.
    """
    if client.scheduler is None:
        raise OSError("the scheduler is gone")
    workers: dict[str, dict[str, Any]] = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return workers


def _answer(future: Future[Answer]) -> Answer:
    """What came of a future that is settled; an exception is not the order's but the worker's."""
    if future.status in ("cancelled", "lost"):
        return Answer("lost", "the cluster lost it")
    try:
        return future.result(timeout=FETCH)
    except (KilledWorker, TimeoutError):
        return Answer("lost", "its worker left the cluster")
    except (OSError, CancelledError):  # of the connection: a worker's own comes back as an answer
        raise OSError("the scheduler is gone") from None
    except Exception as error:
        lines = str(error).splitlines()
        return Answer(
            "refused", f"the worker cannot run fgq-bench: {type(error).__name__}: {lines[0] if lines else ''}"
        )
