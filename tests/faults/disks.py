"""Sweeps whose disk is full or read-only, on a small tmpfs of their own; mounting one needs root."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.outcome import Row
from tests.faults.sweep import Ended, Sweep, unreadable

ROOM = 2**30  # bytes: enough


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes at ``folder``."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _remount(folder: Path, options: str) -> None:
    _mount("-o", f"remount,{options}", str(folder))


def _refused(ended: Ended, reason: str) -> list[str]:
    """Problems of a sweep that must have ended with one line that holds ``reason``."""
    if ended.problems:
        return ended.problems
    if ended.code != 2 or reason not in ended.text:
        return [f"exit code {ended.code}: {ended.text.strip()[-200:]!r}, not {reason!r}"]
    return []


def full_disk(sweep: Sweep, rounds: int, rng: random.Random) -> Row:
    """A disk that holds some of what the sweep stores; then there is room again."""
    row = Row("full disk", "one line; what was stored is intact; with room again, the undisturbed store")
    for number in range(rounds):
        size = int(rng.uniform(0.02, 0.9) * sweep.size)
        with _small_disk(sweep.folder / "disk", size) as disk:
            output = disk / "full"
            problems = _refused(sweep.start(output).wait(), "no space left on the disk") + unreadable(output)
            _remount(disk, f"size={ROOM}")
            problems += sweep.finish(output)
        row.judge("resumed", [f"round {number}, {size} bytes: {problem}" for problem in problems])
    return row


def read_only(sweep: Sweep, rounds: int, rng: random.Random) -> Row:
    """A disk that becomes read-only at a random moment between two runs."""
    row = Row("read-only output", "one line; once it can be written again, the undisturbed store")
    for number in range(rounds):
        with _small_disk(sweep.folder / "disk", ROOM) as disk:
            output = disk / "locked"
            moment = rng.uniform(0, 0.8) * sweep.seconds if number else 0.0  # first: nothing is there yet
            sweep.start(output).kill_after(moment)
            _remount(disk, "ro")
            problems = _refused(sweep.start(output).wait(), "cannot be written")
            _remount(disk, "rw")
            problems += sweep.finish(output)
        row.judge("resumed", [f"round {number}: {problem}" for problem in problems])
    return row


def disks(sweep: Sweep, rounds: int, rng: random.Random) -> list[Row]:
    """Both, or rows that say why not."""
    if os.geteuid() != 0:
        why = "not tried: only root can mount a small disk"
        return [Row("full disk", "one line", note=why), Row("read-only output", "one line", note=why)]
    return [full_disk(sweep, rounds, rng), read_only(sweep, rounds, rng)]
