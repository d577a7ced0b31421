"""Every kind of file that is read, changed in every way: refused with one line, told and made again, or no harm done.

A reader says what a sound file means to the project: its identity, which goes into result keys or is compared with what
was stored. A changed file that is taken for the sound one, but is not, is lost.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgq_bench.errors import UserError
from tests.faults.mutations import Mutation
from tests.faults.outcome import Row

SECONDS = 20  # that reading a file may take
EXPECTED = "one line, or told from the sound file and made again; never taken for it"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        path: a sound file; what lies beside it belongs to it.
        read: the content of a file at ``path``, None where it counts as absent and is made again; raises UserError.
        mutations: what is done to it.
        keyed: whether another content is another identity in every result key (a user's own input), not a loss.
    """

    name: str
    path: Path
    read: Callable[[], Any]
    mutations: tuple[Mutation, ...]
    keyed: bool = False


@contextmanager
def _time_limit() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_inputs(kind: Kind, count: int, seed: int) -> Row:
    """``count`` changes of the file, each from a seed of its own; the file is sound again afterwards."""
    row, kept = Row(f"bad input: {kind.name}", EXPECTED), kind.path.with_name("kept")
    shutil.copyfile(kind.path, kept)
    sound = kind.read()
    if sound is None:
        raise UserError(f"{kind.name}: the sound file is not read")
    for number in range(count):
        rng = random.Random(f"{seed} {kind.name} {number}")
        mutation = kind.mutations[number % len(kind.mutations)]
        mutation(kind.path, rng)
        outcome, lost = _read(kind, sound, kept.read_bytes())
        if lost:
            row.lost.append(f"seed {seed}, {kind.name} {number}, {mutation.__name__}: {lost}")
        else:
            row.count(outcome)
        _restore(kind.path, kept)
    kept.unlink()
    return row


def _read(kind: Kind, sound: Any, content: bytes) -> tuple[str, str]:
    """What became of the changed file, and what is wrong with that."""
    try:
        with _time_limit():
            found = kind.read()
    except UserError as error:
        return "refused", "" if str(error) and len(
            str(error).splitlines()
        ) == 1 else f"not one line: {str(error)!r:.200}"
    except Exception as error:
        return "", f"{type(error).__name__}: {error}"[:300]
    if found is None:
        return "made again", ""
    if kind.path.is_file() and kind.path.read_bytes() == content:
        return "unchanged", ""
    if found == sound:
        return "same meaning", ""
    return ("another identity", "") if kind.keyed else ("", "taken for the sound file")


def _restore(path: Path, kept: Path) -> None:
    if path.is_dir():
        path.rmdir()
    shutil.copyfile(kept, path)
