"""Local: this process by default; several processes on this machine, one per device, where asked for."""

from __future__ import annotations

import resource
from collections.abc import Generator
from dataclasses import replace
from multiprocessing.connection import wait

import torch

from fgq_bench.errors import OutputError, UserError
from fgq_bench.executors.admission import Admission, resident_bytes
from fgq_bench.executors.base import Executor, Patience
from fgq_bench.executors.child import Child, Lost
from fgq_bench.executors.dispatch import Dispatch, Task, refused
from fgq_bench.executors.orders import Order
from fgq_bench.executors.plan import finished_run, make_tasks
from fgq_bench.runner import Advance, Finished, OnBadData, Pending, Sweep, Workspace

TICK = 0.5  # s between looks at time limits and memory


class InProcess(Executor):
    """One run after the other, here: nothing can be lost, so there is nothing to be patient about."""

    def perform(self, pending: list[Pending], advance: Advance) -> Generator[Finished]:
        """See ``Executor``."""
        return Sweep(self.workspace, on_bad_data=self.on_bad_data).one_by_one(pending, advance)


class Processes(Executor):
    """Processes on this machine that share the sweep's output folder.

    Args:
        devices: the torch device of each process.
    """

    def __init__(self, workspace: Workspace, on_bad_data: OnBadData, patience: Patience, devices: list[str]) -> None:
        super().__init__(workspace, on_bad_data, patience)
        self.devices = {f"{index} {device}": device for index, device in enumerate(devices)}  # by the worker's name
        self.children: dict[str, Child] = {}
        self.admission = Admission(
            2 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )  # holds the model, too

    def perform(self, pending: list[Pending], advance: Advance) -> Generator[Finished]:
        """See ``Executor``."""
        device = next(iter(self.devices.values()))
        dispatch = Dispatch(make_tasks(pending, self.workspace, self.on_bad_data, device), self.patience)
        try:
            while not dispatch.done:
                self._give(dispatch)
                busy = {self.children[name].connection: name for name in dispatch.running}
                wait(list(busy), TICK)
                for name in busy.values():
                    yield from self._hear(name, dispatch, advance)
        finally:
            for child in self.children.values():
                child.close()

    def _give(self, dispatch: Dispatch) -> None:
        """Give idle workers what they may do; a worker's process is started with its first order."""
        for name, device in self.devices.items():
            if name in dispatch.running:
                continue
            if not self.admission.allows(
                [resident_bytes(self.children[busy].process.pid) for busy in dispatch.running]
            ):
                return
            task = dispatch.give(name, self.devices.keys() - {name})
            if task is None:
                continue
            if name in self.children and not self.children[name].fit(self.patience):
                self.children.pop(name).close()
            if name not in self.children:
                self.children[name] = Child(self.workspace.root)
            self.children[name].send(_on(task.order, device), self.patience)

    def _hear(self, name: str, dispatch: Dispatch, advance: Advance) -> Generator[Finished]:
        """Take in what a worker says; what it was lost with goes back to ``dispatch``."""
        task = dispatch.running[name]
        try:
            message = self.children[name].receive()
        except Lost as lost:
            self.children.pop(name)
            advance(task.order.label, -task.steps)
            _, failed = dispatch.lose(name, str(lost))
            if failed is not None:
                yield failed
            return
        if message is None:
            return
        kind, content = message
        if kind == "advance":
            task.steps += content[1]
            advance(*content)
            return
        dispatch.settle(name)
        yield from self._answered(task, kind, content, name)

    def _answered(self, task: Task, kind: str, content: bytes | str, name: str) -> Generator[Finished]:
        if kind == "output":
            raise OutputError(str(content))
        if kind == "refused" and (failed := refused(task, str(content))) is not None:
            yield failed
        if kind == "done" and task.item is not None:
            assert isinstance(content, bytes)
            finished = finished_run(task, content, name)
            self.admission.learn(finished.meta["peak_host_bytes"])
            yield finished


def _on(order: Order, device: str) -> Order:
    """``order`` on the worker's own device."""
    return replace(order, model=replace(order.model, device=device))


def devices_for(device: str, workers: int) -> list[str]:
    """A device for each of ``workers`` processes: the one CPU for all, a CUDA device for each.

    Raises UserError where there are fewer CUDA devices, or one of them is named.
    """
    kind = torch.device(device)
    if kind.type != "cuda" or workers == 1:
        return [device] * workers
    if kind.index is not None:
        raise UserError(f"--workers {workers} takes a device for each: give --device cuda, not {device}")
    if workers > torch.cuda.device_count():
        raise UserError(f"--workers {workers}: there are {torch.cuda.device_count()} CUDA devices here, one per worker")
    return [f"cuda:{index}" for index in range(workers)]
