"""A simulated schedule: how long recorded runs would take on 1 to 256 workers, and what binds."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgq_bench.results import Store

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Job:
    """A run, or a calibration."""

    seconds: float
    after: str | None = None  # the calibration that it waits for
    makes: str | None = None  # the calibration that it is


def makespan(jobs: list[Job], workers: int, overhead: float = 0.0) -> float:
    """Seconds until all ``jobs`` are done by list scheduling: calibrations first, then the plan's order, as ``Dispatch``.

    ``overhead``: seconds that are added to every job.
    """
    waiting = sorted(jobs, key=lambda job: job.makes is None)  # stable
    unmade = {job.makes for job in jobs if job.makes is not None}
    now, free, running = 0.0, workers, list[tuple[float, int, Job]]()
    while waiting or running:
        ready = [job for job in waiting if job.after not in unmade]
        for job in ready[:free]:
            waiting.remove(job)
            heapq.heappush(running, (now + job.seconds + overhead, len(waiting), job))
            free -= 1
        now, _, done = heapq.heappop(running)
        free += 1
        unmade.discard(done.makes)
    return now


def critical_path(jobs: list[Job], overhead: float = 0.0) -> float:
    """Seconds that no number of workers can undercut: the longest job with the calibration before it."""
    before = {job.makes: job.seconds + overhead for job in jobs if job.makes is not None}
    return max(job.seconds + overhead + (before.get(job.after, 0.0) if job.after else 0.0) for job in jobs)


def table(jobs: list[Job], overhead: float) -> list[dict[str, Any]]:
    """Makespan, speed-up, efficiency for every number of ``WORKERS``, and whether work or the critical path binds."""
    alone, path = makespan(jobs, 1, overhead), critical_path(jobs, overhead)
    rows = []
    for workers in WORKERS:
        seconds = makespan(jobs, workers, overhead)
        rows.append(
            {
                "workers": workers, "seconds": seconds, "speed_up": alone / seconds,
                "efficiency": alone / seconds / workers,
                "binds": "critical path" if path >= alone / workers else "work",
            }
        )  # fmt: skip
    return rows


def recorded(results: Path, calibration: float) -> list[Job]:
    """Jobs from the notes beside stored results: one for each run, whose cells share their seconds.

    ``calibration``: seconds of a calibration, which no note records; every manifest of a model is one.
    """
    store = Store(results)
    runs: dict[str, Job] = {}
    for result in store.all():
        note = (results / result.path()).with_suffix(".meta.json")
        if result.kind != "accuracy" or result.status != "ok" or not note.is_file():
            continue
        conditions = {key: value for key, value in result.conditions.items() if key != "task"}
        shared = conditions["calibration"] and f"{conditions['model']['hash']} {conditions['calibration']['hash']}"
        seconds = json.loads(note.read_text(encoding="utf-8"))["seconds"]
        runs[json.dumps(conditions, sort_keys=True)] = Job(seconds, shared)
    made = dict.fromkeys(job.after for job in runs.values() if job.after is not None)
    return [*(Job(calibration, makes=key) for key in made), *runs.values()]
