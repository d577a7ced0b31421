"""Crash points: SIGKILL right before and right after every file operation of ``run`` and of ``report``."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.outcome import Row
from tests.faults.pages import write_card
from tests.faults.sweep import Ended, Sweep, contents, unreadable

OPERATIONS = (
    "mkdir",
    "fsync",
    "replace",
    "rename",
    "rmdir",
)  # of ``os``: everything that becomes a file comes by these
KILLED = -signal.SIGKILL
Start = Callable[[Path, Callable[[], None]], Ended]


def crashes(sweep: Sweep, most: int) -> list[Row]:
    """Both commands, each killed at ``most`` of its crash points at most, evenly spread."""
    return [_of_run(sweep, most), _of_report(sweep, most)]


def _of_run(sweep: Sweep, most: int) -> Row:
    row = Row("crash points of run", "the store can be read at once; resumed, it is the undisturbed one byte by byte")
    output = sweep.folder / "crashed"

    def start(output: Path, prepare: Callable[[], None]) -> Ended:
        return sweep.start(output, prepare=prepare).wait()

    points = _points(sweep, start, output)
    for point in _spread(points, most):
        problems = _crash(start, output, point) + unreadable(output) + sweep.finish(output)
        row.judge("survived", [f"point {point} of {points}: {problem}" for problem in problems])
    row.note = f"of {points} points"
    return row


def _of_report(sweep: Sweep, most: int) -> Row:
    row = Row("crash points of report", "written again by the same command: tables, figures, results, page")
    card = write_card(sweep.folder / "crashes", pictures=["rtn w4a4"])
    results = sweep.folder / "undisturbed" / "results"
    output, whole = sweep.folder / "report", sweep.folder / "whole-report"

    def start(output: Path, prepare: Callable[[], None]) -> Ended:
        files = ["--results", str(results), "--limit", "2", "-o", str(output), "--page", str(output / "index.html")]
        return sweep.command(["report", str(card), *files], prepare).wait()

    ended = start(whole, lambda: None)
    if ended.code:
        row.judge("", [f"undisturbed: {ended.text.strip()[-200:]!r}"])
        return row
    expected, points = contents(whole), _points(sweep, start, output)
    for point in _spread(points, most):
        problems = _crash(start, output, point)
        problems += start(output, lambda: None).problems
        found = contents(output)
        problems += [
            f"{name} differs" for name in sorted(found.keys() | expected) if found.get(name) != expected.get(name)
        ]
        row.judge("survived", [f"point {point} of {points}: {problem}" for problem in problems])
        shutil.rmtree(output, ignore_errors=True)
    row.note = f"of {points} points; {len(expected)} files"
    return row


def _points(sweep: Sweep, start: Start, output: Path) -> int:
    """How many crash points the command has that fills ``output``; it is removed again."""
    counted = sweep.folder / "points"
    start(output, partial(watch, lambda point: _note(counted, point)))
    shutil.rmtree(output)
    return int(counted.read_text()) + 1


def _note(path: Path, point: int) -> None:
    path.write_text(str(point))


def _crash(start: Start, output: Path, point: int) -> list[str]:
    """Kill the command at ``point``; what is wrong with how it ended."""
    ended = start(output, partial(watch, lambda met: _die() if met == point else None))
    return [] if ended.code == KILLED else [f"not killed, exit code {ended.code}"]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _spread(points: int, most: int) -> list[int]:
    """At most ``most`` of 0 ... ``points`` - 1."""
    count = min(points, most)
    return sorted({index * points // count for index in range(count)})


def watch(meet: Callable[[int], None]) -> None:
    """Call ``meet`` with 2n before and 2n + 1 after the n-th file operation of this process, from now on."""
    state = {"next": 0}

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            point = state["next"]
            state["next"] += 2
            meet(point)
            try:
                return function(*arguments, **options)
            finally:  # an operation that fails (the folder is there already) has a point after it, too
                meet(point + 1)

        return call

    for name in OPERATIONS:
        setattr(os, name, watched(getattr(os, name)))
