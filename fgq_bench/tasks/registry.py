"""Tasks by name."""

from __future__ import annotations

from fgq_bench.errors import UserError
from fgq_bench.suggest import unknown
from fgq_bench.tasks.agreement import Agreement
from fgq_bench.tasks.base import Task
from fgq_bench.tasks.depth import Depth
from fgq_bench.tasks.depth_l1 import DepthL1
from fgq_bench.tasks.pointmap import PointMap, PointMapMillimetres
from fgq_bench.tasks.pointmap_median import PointMapMedian
from fgq_bench.tasks.pose import Pose, PoseFirstCamera
from fgq_bench.tasks.trajectory import Trajectory

_ALL: tuple[Task, ...] = (
    Pose(), PoseFirstCamera(), Depth(), DepthL1(), PointMap(), PointMapMillimetres(), PointMapMedian(), Trajectory(),
    Agreement(),
)  # fmt: skip
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def choose_tasks(dataset: str, offered: tuple[str, ...], wanted: list[str] | None) -> tuple[str, ...]:
    """The tasks ``wanted`` of those that ``dataset`` offers (None: all); raises UserError for others."""
    if not offered:
        raise UserError(f"data set {dataset} is there to calibrate on: it has no task to score")
    for name in wanted or ():
        find_task(name)
        if name not in offered:
            raise UserError(f"data set {dataset} has no task {name!r}; it has {', '.join(offered)}")
    return offered if wanted is None else tuple(wanted)


def find_task(name: str) -> Task:
    """The task called ``name``; raises UserError with close names."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
