"""Columns of a table: which metric, how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from fgq_bench.reporting.statistics import Interval
from fgq_bench.suggest import unknown
from fgq_bench.tasks.aggregate import PER_CATEGORY
from fgq_bench.tasks.registry import find_task

TITLES = {
    "pose.auc@30": "AUC@30",
    "pose.auc@15": "AUC@15",
    "pose.auc@5": "AUC@5",
    "pose.auc@3": "AUC@3",
    "depth.abs_rel_median": "AbsRel (median scale)",
    "depth.delta_1.25_median": "δ<1.25 (median scale)",
    "pointmap.acc_mean_points": "Acc (point head, m)",
    "pointmap.comp_mean_points": "Comp (point head, m)",
    "pointmap.nc_mean_points": "NC (point head)",
    "pointmap.acc_mean_depth+camera": "Acc (depth+camera, m)",
    "pointmap.comp_mean_depth+camera": "Comp (depth+camera, m)",
    "pointmap.nc_mean_depth+camera": "NC (depth+camera)",
    "trajectory.ate_sim3": "ATE (Sim(3), m)",
    "agreement.rotation": "Δ rotation (°)",
    "agreement.centre": "Δ centre (radii)",
    "agreement.depth": "Δ depth (%)",
    "agreement.points": "Δ points (%)",
}


@dataclass(frozen=True)
class Column:
    """One metric of one task; ``factor`` converts stored units to shown ones, ``digits`` after the point."""

    task: str
    metric: str
    title: str
    factor: float
    digits: int
    higher_is_better: bool
    unit: str  # of stored values

    @classmethod
    def parse(cls, text: str) -> Column:
        """Read ``task.metric`` or ``task.metric/category``; raises UserError for unknown names."""
        task_name, _, name = text.partition(".")
        task = find_task(task_name)
        known = {metric.name: metric for metric in task.metrics}
        metric = known.get(name.removesuffix(PER_CATEGORY))
        if metric is None:
            raise unknown(f"metric of {task_name}", name, known)
        factor = {"relative": 100.0, "metres": 1 / task.unit}.get(metric.unit, 1.0)
        digits = 2 if metric.unit in ("relative", "degrees") else 3
        title = TITLES.get(text, f"{text} (mm)" if factor == 1000 else text)
        return cls(task_name, name, title, factor, digits, metric.higher_is_better, metric.unit)

    @property
    def heading(self) -> str:
        """Title with the direction in which the metric gets better."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    def show(self, value: float) -> str:
        """A stored value in shown units."""
        return f"{value * self.factor:.{self.digits}f}"

    def cell(self, interval: Interval) -> str:
        """``value [low, high]``."""
        return f"{self.show(interval.value)} [{self.show(interval.low)}, {self.show(interval.high)}]"
