"""Measured times of a report's rows: the latency results of the very same artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fgq_bench.latency.variants import BASELINE
from fgq_bench.planning import Run
from fgq_bench.reporting.latency.cells import METHOD, milliseconds
from fgq_bench.reporting.latency.selection import Setting, case_label, label_of, of_subjects
from fgq_bench.reporting.tables import MISSING
from fgq_bench.results import Result

SAME = ("model", "method", "preset", "scheme", "scope", "calibration")  # the seed does not change the time


@dataclass(frozen=True)
class Timing:
    """One case on one machine: a text per row, ``–`` where it was not timed."""

    label: str
    note: str
    texts: Sequence[str]


def timings_of(rows: Sequence[Run], latency: Sequence[Result]) -> list[Timing]:
    """Times of whole networks for ``rows`` (one run each); cases that timed none of the quantized rows are left out."""
    found = []
    for result in of_subjects(latency, "aggregator", "model"):
        entries = [_entry(run, result) for run in rows]
        if not any(entry and not run.scheme.is_float for run, entry in zip(rows, entries, strict=True)):
            continue
        setting, case = Setting.of(result), case_label(result)
        note = (
            f"Time: {case} on {setting.machine}; {METHOD} Full precision is timed in bf16. "
            "Its accuracy, and that of every row, is from the backend named above."
        )
        texts = [milliseconds(entry, interval=True) if entry else MISSING for entry in entries]
        found.append(Timing(f"Time of {case} (ms, {setting.device_in_full}, {setting.backend}) ↓", note, texts))
    return found


def _entry(run: Run, result: Result) -> dict[str, Any] | None:
    """The metrics of the run's artefact in a latency result; full precision stands for the bf16 baseline."""
    wanted = next(run.cells()).conditions
    if run.scheme.is_float:
        return result.metrics.get(BASELINE) if result.conditions["model"] == wanted["model"] else None
    for name, entry in result.metrics.items():
        for each in result.conditions["variants"].get("variants", []):
            named = f"{label_of(each)} {each['scheme']}"
            if named == name and all(each[key] == wanted[key] for key in SAME):
                return entry
    return None
