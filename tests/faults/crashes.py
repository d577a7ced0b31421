"""Crash points: ``run-all`` and ``report`` end at one file operation after the other, as a power cut ends them.

The process is gone before the operation is done, so nothing tidies up; the same command is run again, and the whole tree
must be that of a command that was never disturbed: results, artefacts, tables, figures and page.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fgq_bench import planning
from fgq_bench.models.checkpoints import find_model, load_model
from fgq_bench.reporting.page import page
from fgq_bench.reporting.page.audit import audit_section
from fgq_bench.reporting.published import load_published
from tests.faults.outcome import Row
from tests.faults.sweep import Ended, Sweep, contents, fork

CUT = 71  # exit code of a process that reached its crash point
CARD = """name = "crash"
title = "Crash points"
summary = "One row, its baseline, and a figure."
model = "vggt-tiny"
scope = "aa"
presets = []
datasets = ["procedural-rooms"]
rows = ["fp w16a16", "rtn w4a4"]
columns = ["pose.auc@30"]
pictures = ["rtn w4a4"]
"""
CHANGES = {"os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def crashes(sweep: Sweep, rounds: int) -> list[Row]:
    """Both commands at up to ``rounds`` of their file operations, evenly spread; from about 100 on that is every one."""
    card, store = sweep.folder / "crash.toml", sweep.folder / "crash-run-all" / "whole" / "results"
    card.write_text(CARD)
    run_all = ["run-all", "--report", str(card), "--limit", "1", "--cache", "none", "-o"]
    report = ["report", str(card), "--limit", "1", "--results", str(store), "--page", "{}/index.html", "-o"]
    load, audit = cache(load_model), audit_section(load_published())
    for checkpoint in (None, find_model("vggt-tiny").checkpoint):
        load("vggt-tiny", checkpoint, "cpu")
    with (  # what every child would compute again before it writes anything
        patch.object(planning, "load_model", load),
        patch.object(page, "audit_section", lambda published: audit),
    ):
        return [_crash(sweep.folder, command, rounds) for command in (run_all, report)]


def _crash(folder: Path, command: list[str], rounds: int) -> Row:
    place = folder / f"crash-{command[0]}"
    place.mkdir()

    def run(name: str, prepare: Callable[[], None]) -> Ended:
        output = str(place / name)
        arguments = [*(word.format(output) for word in command), output]
        return fork(arguments, place / f"{name}.log", prepare).wait()

    row = Row(f"{command[0]} ends at a file operation", "the same command again: the undisturbed tree, file by file")
    counted = place / "operations"
    undisturbed = run("whole", lambda: watch(place / "whole", 0, counted))
    if undisturbed.code:
        row.lost.append(f"the undisturbed command fails: {undisturbed.text}")
        return row
    expected, total = contents(place / "whole"), counted.stat().st_size
    points = sorted({1 + round(number * (total - 1) / max(1, rounds - 1)) for number in range(rounds)})
    for point in points:
        cut = run("cut", lambda point=point: watch(place / "cut", point, place / "ignored"))  # type: ignore[misc]
        again = run("cut", lambda: None)
        problems = again.problems or ([f"exit code {again.code}: {again.text[-200:]}"] if again.code else [])
        problems += [] if cut.code == CUT else [f"exit code {cut.code} where it should have ended: {cut.text[-200:]}"]
        found = contents(place / "cut")
        names = sorted(found.keys() | expected.keys())
        problems += [f"{name} differs" for name in names if found.get(name) != expected.get(name)]
        row.judge("finished by the next one", [f"operation {point} of {total}: {problem}" for problem in problems])
        shutil.rmtree(place / "cut")
    row.note = f"{len(points)} of {total} operations"
    return row


def watch(output: Path, point: int, counted: Path) -> None:
    """End this process before operation number ``point`` below ``output``; ``counted`` gets a byte for each before it."""
    handle = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if _is_change(event, arguments, str(output)):
            seen += 1
            if seen == point:
                os._exit(CUT)
            os.write(handle, b".")

    sys.addaudithook(hook)


def _is_change(event: str, arguments: tuple[Any, ...], output: str) -> bool:
    """Whether Python is about to change a file below ``output`` (or relative to an open folder, as rmtree does)."""
    if event == "open":
        path, _, flags = arguments
        return str(path).startswith(output) and bool(flags & WRITING)
    if event not in CHANGES:
        return False
    return str(arguments[0]).startswith(output) or (event != "os.rename" and arguments[-1] not in (-1, None))
