"""The smallest contents of files that are accepted: an artefact's header, conditions and scores of a result."""

from __future__ import annotations

from typing import Any

from fgq_bench.results import Result, content_key
from fgq_bench.tasks.registry import TASKS

METHOD: dict[str, Any] = {"name": "rtn", "algorithm": 1, "options": {}}
COMPILATION: dict[str, Any] = {
    "model": {"name": "vggt-tiny", "hash": "0" * 64}, "method": METHOD, "preset": None, "calibration": None,
    "scheme": "w4a4", "scope": "aa", "seed": 0,
}  # fmt: skip


def header(scheme: str = "w16a16") -> dict[str, Any]:
    """An artefact's."""
    return {**COMPILATION, "scheme": scheme}


def scored_conditions(task: str = "pose", dataset: str = "rooms", **changes: Any) -> dict[str, Any]:
    """Of an accuracy result."""
    found = TASKS[task]
    return {
        **COMPILATION, "dataset": {"name": dataset, "loader": "module:Class", "options": {}}, "protocol": "its own",
        "image_size": 84, "backend": "reference", "compute_dtype": "float32", "frames": "f",
        "task": {"name": task, "alignment": found.alignment, "algorithm": found.algorithm}, **changes,
    }  # fmt: skip


def scored(conditions: dict[str, Any], rows: list[dict[str, Any]]) -> Result:
    """An accuracy result with these values for its sequences; metrics that are not given are 0."""
    names = [metric.name for metric in TASKS[conditions["task"]["name"]].metrics]
    sequences: list[dict[str, Any]] = [
        {"sequence": str(index), "category": "c", "weight": 1.0, **dict.fromkeys(names, 0.0), **row}
        for index, row in enumerate(rows)
    ]
    means = {name: sum(row[name] for row in sequences) / len(rows) for name in names}
    metrics = {
        name: {"value": mean, "ci_low": mean, "ci_high": mean, "unit": "fraction", "aggregation": "mean"}
        for name, mean in means.items()
    }
    return Result("accuracy", content_key(conditions), conditions, "ok", None, metrics, sequences)
