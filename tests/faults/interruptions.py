"""Sweeps that are killed, run side by side, or see the clock jump."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

from tests.faults.outcome import Row
from tests.faults.sweep import Sweep, nothing, unreadable

KILLED = -9
YEARS = 365.25 * 24 * 3600.0  # s


def kills(sweep: Sweep, rounds: int, rng: random.Random) -> Row:
    """``rounds`` SIGKILLs at random moments; whenever a sweep gets to its end it is compared and begun anew."""
    row = Row("SIGKILL of a sweep", "the store can be read at once; resumed, it is the undisturbed one byte by byte")
    output, killed, compared = sweep.folder / "killed", 0, 0
    while killed < rounds:
        moment = rng.uniform(0, 1.1) * sweep.seconds
        ended = sweep.start(output).kill_after(moment)
        if ended.code == KILLED:
            killed += 1
            row.judge("survived", [f"kill {killed}: {problem}" for problem in unreadable(output)])
        else:
            problems = ended.problems + sweep.finish(output)
            row.lost += [f"before kill {killed + 1}: {problem}" for problem in problems[:1]]
            compared += 1
    row.lost += [f"after kill {killed}: {problem}" for problem in sweep.finish(output)[:1]]
    row.note = f"{compared + 1} sweeps came to their end and were compared"
    return row


def runners(
    sweep: Sweep, count: int, rounds: int, rng: random.Random, prepare: Callable[[], None] = nothing
) -> Row:  # fmt: skip
    """``count`` runners on one store at once, each prepared; in every other round one of them is killed."""
    row = Row(f"{count} runners on one store", "no clash; the store is the undisturbed one")
    for number in range(rounds):
        output = sweep.folder / f"{count}-runners"
        children = [sweep.start(output, prepare=prepare) for _ in range(count)]
        first = children[0].kill_after(rng.uniform(0, 1) * sweep.seconds) if number % 2 else children[0].wait()
        ended = [first, *(child.wait() for child in children[1:])]
        problems = [problem for each in ended if each.code != KILLED for problem in each.problems]
        row.judge("same", [f"round {number}: {problem}" for problem in problems + sweep.finish(output)])
    return row


def clocks(sweep: Sweep, rounds: int, rng: random.Random) -> Row:
    """Files from the past and the future, and a clock that stands elsewhere at every start and runs backwards."""
    row = Row("clock changes", "no decision hangs on time: the store is the undisturbed one")
    for number in range(rounds):
        output = sweep.folder / "clocks"
        shift = rng.uniform(-20, 20) * YEARS
        sweep.start(output, prepare=lambda shift=shift: _backwards(shift)).kill_after(rng.uniform(0, 1) * sweep.seconds)  # type: ignore[misc]
        for path in output.rglob("*"):
            moment = rng.uniform(0, 4e9)
            os.utime(path, (moment, moment))
        ended = sweep.start(output, prepare=lambda shift=shift: _backwards(-shift)).wait()  # type: ignore[misc]
        row.judge("same", [f"round {number}: {problem}" for problem in ended.problems + sweep.finish(output)])
    return row


def _backwards(shift: float) -> None:
    """Let this process's clocks run backwards, from ``shift`` seconds away."""

    def ticks() -> Iterator[float]:
        now = time.time() + shift
        while True:
            now -= 0.5
            yield max(now, 0.0)

    clock = ticks()
    time.time = lambda: next(clock)
    time.monotonic_ns = lambda: int(next(clock) * 1e9)
