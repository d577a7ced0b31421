"""Columns of a table: which metric, how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fgq_bench.errors import UserError
from fgq_bench.results import Result
from fgq_bench.suggest import unknown
from fgq_bench.tasks.registry import find_task

TITLES = {
    "pose.auc@30": "AUC@30",
    "pose.auc@15": "AUC@15",
    "pose.auc@5": "AUC@5",
    "pose.auc@3": "AUC@3",
    "depth.abs_rel_median": "AbsRel",
    "depth.delta_1.25_median": "δ<1.25",
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

    @classmethod
    def parse(cls, text: str) -> Column:
        """Read ``task.metric``; raises UserError for unknown names."""
        task_name, _, name = text.partition(".")
        task = find_task(task_name)
        known = {metric.name: metric for metric in task.metrics}
        if name not in known:
            raise unknown(f"metric of {task_name}", name, known)
        metric = known[name]
        percent = metric.unit == "relative"
        digits = 2 if percent or metric.unit == "degrees" else 3
        title = TITLES.get(text, text)
        return cls(task_name, name, title, 100.0 if percent else 1.0, digits, metric.higher_is_better)

    @property
    def arrow(self) -> str:
        """Direction in which the metric gets better."""
        return "↑" if self.higher_is_better else "↓"

    def show(self, value: float) -> str:
        """A stored value in shown units."""
        return f"{value * self.factor:.{self.digits}f}"

    def cell(self, metrics: dict[str, dict[str, Any]]) -> str:
        """``value [low, high]`` of a result's metrics."""
        entry = metrics[self.metric]
        return f"{self.show(entry['value'])} [{self.show(entry['ci_low'])}, {self.show(entry['ci_high'])}]"


def megabytes(result: Result, key: str = "total") -> str:
    """A byte count of a result in MB (10^6)."""
    if not result.bytes:
        raise UserError("result without byte counts")
    return f"{result.bytes[key] / 1e6:.2f}"
