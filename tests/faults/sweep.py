"""The sweep that faults are done to: ``fgq-bench run`` on a few small cells, in a process that is forked ready to start.

A fork of a process that has imported everything starts in milliseconds, where a new Python needs seconds; what runs in
it is the command line. One thread, so that a fork is safe and the same bytes come out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fgq_bench import cli
from fgq_bench.calibration.sampling import sample_random
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands import sweeps
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.tiny import VGGT_TINY
from fgq_bench.quantizers import gptq, rtn
from fgq_bench.results import Store

LOADED = (sweeps, gptq, rtn)  # imported here so that a fork need not
with torch.device("meta"):
    VGGT_TINY.build()  # computes nothing, but makes torch import what it imports late
CRASH = 70  # exit code of a child that ended with a traceback


def nothing() -> None:
    """No preparation."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal) and what it printed."""

    code: int
    text: str

    @property
    def problems(self) -> list[str]:
        """A traceback, or an exit code other than success, a failed cell, or one line for the user."""
        if self.code == CRASH or "Traceback" in self.text:
            return [f"traceback: {self.text.strip().splitlines()[-1]}"]
        if self.code == 2 and len(self.text.strip().splitlines()) != 1:
            return [f"not one line: {self.text!r}"]
        return [] if self.code in (0, 1, 2) else [f"exit code {self.code}"]


@dataclass(frozen=True)
class Child:
    """A running sweep."""

    process: int
    log: Path

    def wait(self) -> Ended:
        """Wait until it ends."""
        _, status = os.waitpid(self.process, 0)
        return self._ended(status)

    def kill_after(self, seconds: float) -> Ended:
        """SIGKILL at that moment, unless it has ended before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return self._ended(status)
            time.sleep(min(0.002, seconds))
        os.kill(self.process, signal.SIGKILL)
        return self.wait()

    def _ended(self, status: int) -> Ended:
        return Ended(os.waitstatus_to_exitcode(status), self.log.read_text(errors="replace"))


class Sweep:
    """The sweep, undisturbed once: what every disturbed one must come to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pool = open_dataset(load_card(DatasetCard, "procedural-rooms-pool"))
        self.manifest = folder / "two.json"
        sample_random("two", [pool], 2, 2, 0).save(self.manifest)
        began = time.monotonic()
        ended = self.start(folder / "undisturbed").wait()
        self.seconds = time.monotonic() - began
        if ended.code:
            raise UserError(f"the undisturbed sweep fails: {ended.text}")
        self.expected = contents(folder / "undisturbed")
        self.size = sum(path.stat().st_size for path in (folder / "undisturbed").rglob("*") if path.is_file())
        self.cells = len(Store(folder / "undisturbed" / "results").all())

    def start(
        self, output: Path, methods: Sequence[str] = (), options: Sequence[str] = (),
        prepare: Callable[[], None] = nothing,
    ) -> Child:  # fmt: skip
        """Start it on ``output``, with further ``methods`` and ``options``; ``prepare`` runs in the new process first."""
        further = [text for method in methods for text in ("-m", method)]
        return self.command(["run", *self.arguments(output), *further, *options], prepare)

    def arguments(self, output: Path) -> list[str]:
        """The options of ``run`` that make the sweep on ``output``."""
        cells = ["-m", "fp", "-m", "rtn", "-m", "gptq", "-b", "w4a4", "-d", "procedural-rooms", "-t", "pose", "-t", "depth", "-t", "agreement", "--limit", "2"]  # fmt: skip
        return [*cells, "--calibration", str(self.manifest), "--output", str(output), "--json"]

    def command(self, arguments: Sequence[str], prepare: Callable[[], None] = nothing) -> Child:
        """Start any command line in a process of its own."""
        return fork(list(arguments), self.folder / f"{time.monotonic_ns()}.log", prepare)

    def differences(self, output: Path) -> list[str]:
        """What is not as after the undisturbed sweep, one line each: results, artefacts, caches, left-over files."""
        found = contents(output)
        names = sorted(found.keys() | self.expected.keys())
        return [f"{name} differs" for name in names if found.get(name) != self.expected.get(name)]

    def finish(self, output: Path) -> list[str]:
        """Resume until done, compare, and remove ``output``; what went wrong."""
        ended = self.start(output).wait()
        problems = ended.problems or ([f"exit code {ended.code}"] if ended.code else [])
        problems += self.differences(output)
        shutil.rmtree(output)
        return problems


def fork(arguments: list[str], log: Path, prepare: Callable[[], None] = nothing) -> Child:
    """Start the command line ``arguments`` in a new process, which runs ``prepare`` first; ``log`` gets what it prints."""
    log.write_bytes(b"")
    process = os.fork()
    if process == 0:
        _run(arguments, log, prepare)
    return Child(process, log)


def contents(output: Path) -> dict[str, str]:
    """SHA-256 of every file by its name, without those that say how a result was made."""
    paths = [path for path in output.rglob("*") if path.is_file() and not path.name.endswith(".meta.json")]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def unreadable(output: Path) -> list[str]:
    """Why a store that was just interrupted cannot be read; nothing if it can."""
    try:
        Store(output / "results").all()
    except UserError as error:
        return [str(error)]
    return []


def _run(arguments: list[str], log: Path, prepare: Callable[[], None]) -> None:
    """The child: the command line with its output in ``log``; never returns."""
    code = CRASH
    try:
        handle = os.open(log, os.O_WRONLY)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        torch.set_num_threads(1)
        sys.argv = ["fgq-bench", *arguments]
        prepare()
        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
