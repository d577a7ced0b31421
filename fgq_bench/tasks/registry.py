"""Tasks by name."""

from __future__ import annotations

from fgq_bench.suggest import unknown
from fgq_bench.tasks.agreement import Agreement
from fgq_bench.tasks.base import Task
from fgq_bench.tasks.depth import Depth
from fgq_bench.tasks.depth_l1 import DepthL1
from fgq_bench.tasks.pointmap import PointMap
from fgq_bench.tasks.pointmap_median import PointMapMedian
from fgq_bench.tasks.pose import Pose
from fgq_bench.tasks.trajectory import Trajectory

_ALL: tuple[Task, ...] = (Pose(), Depth(), DepthL1(), PointMap(), PointMapMedian(), Trajectory(), Agreement())
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """The task called ``name``; raises UserError with close names."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
