"""Which worker does what next: calibration before what waits for it, artefacts once, lost orders again elsewhere."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from fgq_bench.errors import UserError
from fgq_bench.executors.base import Patience
from fgq_bench.executors.orders import CalibrationOrder, Order, RunOrder
from fgq_bench.runner import Finished, Pending, make_meta


@dataclass(eq=False)
class Task:
    """An order with its history; ``item`` is what its results belong to (None: a calibration)."""

    order: Order
    item: Pending | None
    attempts: int = 0  # that were lost
    avoid: str | None = None  # the worker that was lost with it
    steps: int = 0  # sequences that the present attempt has reported
    began: float = field(default_factory=time.monotonic)

    @property
    def needs(self) -> str | None:
        """Key of the calibration that it waits for."""
        return self.order.calibration if isinstance(self.order, RunOrder) else None

    @property
    def artefact(self) -> str | None:
        """What else it makes that others can use."""
        return self.order.artefact if isinstance(self.order, RunOrder) else None


class Dispatch:
    """The tasks of a sweep that are not done. Workers are names; one has one task at a time."""

    def __init__(self, tasks: list[Task], patience: Patience) -> None:
        self.waiting, self.patience = list(tasks), patience
        self.running: dict[str, Task] = {}
        self._makers: dict[str, str] = {}  # artefact -> the worker that makes or made it

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return not self.waiting and not self.running

    def give(self, worker: str, others: Collection[str] = ()) -> Task | None:
        """The next task for an idle ``worker``, None where it should wait.

        ``others``: the other workers that there are; a task goes to the worker that was lost with it only if there is
        none.
        """
        unmade = self._calibrations()
        able = [
            task for task in self.waiting if task.needs not in unmade and not (task.avoid == worker and others)
        ]  # fmt: skip
        if not able:
            return None
        task = min(able, key=lambda each: self._rank(each, worker))  # the first of the best: the plan's order
        self.waiting.remove(task)
        self.running[worker] = task
        task.began, task.steps = time.monotonic(), 0
        if task.artefact is not None:
            self._makers.setdefault(task.artefact, worker)
        return task

    def settle(self, worker: str) -> Task:
        """``worker`` is done with its task."""
        return self.running.pop(worker)

    def put_back(self, worker: str) -> None:
        """``worker`` is gone through no fault of its task, which waits again; no attempt is counted."""
        self.waiting.insert(0, self.running.pop(worker))

    def lose(self, worker: str, reason: str) -> tuple[Task, Finished | None]:
        """``worker`` is gone, or its time is over: its task waits again, or has failed for good.

        Returns the task and, if it is a run that will not be tried again, its failed results.
        """
        task = self.running.pop(worker)
        self._makers = {artefact: maker for artefact, maker in self._makers.items() if maker != worker}
        task.attempts += 1
        task.avoid = worker
        if task.attempts <= self.patience.retries:
            self.waiting.insert(0, task)
            return task, None
        times = "once" if task.attempts == 1 else f"{task.attempts} times"
        return task, refused(task, f"worker lost: {reason} (tried {times})")

    def _calibrations(self) -> set[str]:
        """Keys of calibrations that are still to come; what waits for one that failed makes its own."""
        return {t.order.key for t in [*self.waiting, *self.running.values()] if isinstance(t.order, CalibrationOrder)}

    def _rank(self, task: Task, worker: str) -> int:
        """Calibrations first, then artefacts that this worker has, then those that nobody makes, then the rest."""
        if task.artefact is None:
            return 0
        maker = self._makers.get(task.artefact)
        return 1 if maker == worker else 2 if maker is None else 3


def refused(task: Task, reason: str) -> Finished | None:
    """Failed results of ``task`` because of ``reason``; None of a calibration."""
    if task.item is None:
        return None
    error = UserError(reason)
    seconds = time.monotonic() - task.began
    return Finished([cell.ended(error) for cell in task.item.cells], make_meta(seconds, torch.device("cpu")))
