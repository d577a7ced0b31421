"""Accuracy results: one task on one data set, with a row for every sequence."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, model_validator
from typing_extensions import TypedDict

from fgq_bench.result_kinds.common import Compilation, Execution, ResultSchema
from fgq_bench.schema import Finite, NotNegative, OpenSchema, Schema, Size, absent
from fgq_bench.tasks.aggregate import PER_CATEGORY
from fgq_bench.tasks.registry import TASKS

ABOUT = {"sequence", "category", "weight"}  # of a row; all else are values of metrics


class Metric(Schema):
    """An aggregate with its 95 % interval."""

    value: Finite
    ci_low: Finite
    ci_high: Finite
    unit: str
    aggregation: str


class Row(TypedDict, extra_items=Finite):  # type: ignore[call-arg]  # mypy does not know PEP 728
    """The values of one sequence. A dictionary, as a store has a hundred thousand of them."""

    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]
    sequence: str
    category: str
    weight: NotNegative


class DatasetIdentity(OpenSchema):
    """What decides the content of the sequences."""

    name: str
    loader: str
    options: dict[str, Any]


class TaskIdentity(OpenSchema):
    """How predictions were scored."""

    name: str
    alignment: str
    algorithm: int


class Scored(Compilation):
    """Conditions: a quantized model, data, who executes, the task."""

    dataset: DatasetIdentity
    protocol: str | dict[str, Any]
    image_size: Size
    backend: str
    compute_dtype: str
    frames: str
    task: TaskIdentity


class AccuracyResult(ResultSchema):
    """Metrics and rows of one cell."""

    kind: Literal["accuracy"]
    conditions: Scored
    metrics: dict[str, Metric]
    sequences: list[Row]
    execution: Execution = absent()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Every row has the metrics of the task; some sequence counts; none is there twice."""
        if self.status != "ok":
            return self
        task, names = self.conditions.task, {name.removesuffix(PER_CATEGORY) for name in self.metrics}
        if task.name not in TASKS:
            raise ValueError(f"key 'conditions.task.name': no task {task.name!r}; there are {', '.join(TASKS)}")
        known = {metric.name for metric in TASKS[task.name].metrics}
        if not names <= self.metrics.keys() or (task.algorithm == TASKS[task.name].algorithm and names != known):
            raise ValueError(f"key 'metrics': those of {task.name} are {', '.join(sorted(known))}")
        keys = ABOUT | names
        if odd := [i for i, row in enumerate(self.sequences) if row.keys() != keys]:
            raise ValueError(f"key 'sequences.{odd[0]}': the keys are {', '.join(sorted(keys))}")
        if not sum(row["weight"] for row in self.sequences) > 0:
            raise ValueError("key 'sequences': none has a weight")
        if len({row["sequence"] for row in self.sequences}) != len(self.sequences):
            raise ValueError("key 'sequences': one is there twice")
        return self
