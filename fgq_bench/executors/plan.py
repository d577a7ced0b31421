"""From pending runs to tasks, and from a worker's answer to results."""

from __future__ import annotations

import sys
from dataclasses import replace

from fgq_bench.executors.dispatch import Task
from fgq_bench.executors.orders import calibration_orders, learns_from_statistics, order_of
from fgq_bench.executors.workshop import unpack
from fgq_bench.runner import Finished, OnBadData, Pending, Workspace


def make_tasks(pending: list[Pending], workspace: Workspace, on_bad_data: OnBadData, device: str) -> list[Task]:
    """A task for every run, to be executed on ``device``, and before them one for every calibration not yet stored."""
    calibrations = calibration_orders([item.run for item in pending], workspace.calibrations, device)
    tasks = [Task(order, None) for order in calibrations]
    for item in pending:
        shares = learns_from_statistics(item.run)
        tasks.append(Task(order_of(item, device, on_bad_data, workspace.keep_predictions, shares), item))
    return tasks


def finished_run(task: Task, answer: bytes, worker: str) -> Finished:
    """What became of a run, as ``worker`` answered it; its note names the client's command and the attempts."""
    found = unpack(answer)
    about = {"worker": worker, "attempts": task.attempts + 1}
    return replace(found, meta={**found.meta, "command": sys.argv, "executor": about})
