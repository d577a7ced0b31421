"""``python -m tests.gpu -o OUT``: every step with its own limit; a failing one costs only itself.

Left in OUT: ``summary.md`` (also printed), ``log.txt``, ``latency.md`` (tables of what was timed), ``results.tar.gz`` (the
result files, for ``reports/latest/results``), ``training.json``, and the test reports' lines inside the log.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tests.gpu.steps import FGQ, Step, dry_steps, steps

SHOWN = 14  # last lines of a step in the summary
LOGGED = 400_000  # bytes of a step in the log


class Check:
    """One run: where it writes, and how much of its time is left."""

    def __init__(self, output: Path, budget: float, only: list[str]) -> None:
        self.output, self.only = output, only
        self.end = time.monotonic() + budget
        self.work = Path(tempfile.mkdtemp(prefix="fgq-gpu-"))
        self.failed: list[str] = []
        output.mkdir(parents=True, exist_ok=True)
        for name in ("summary.md", "log.txt"):
            (output / name).write_text("")

    def say(self, text: str) -> None:
        """A line of the summary."""
        print(text, flush=True)
        with open(self.output / "summary.md", "a") as summary:
            summary.write(text + "\n")

    def start(self, step: Step) -> tuple[Step, subprocess.Popen[bytes], float] | None:
        """Begin ``step``, unless it was not asked for or no time is left."""
        if self.only and step.name not in self.only:
            return None
        if self.end - time.monotonic() < 5:
            self.say(f"- {step.name}: no time left")
            self.failed.append(step.name)
            return None
        log = open(self.work / f"{step.name}.log", "wb")  # noqa: SIM115
        child = subprocess.Popen(
            step.command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment()
        )
        return step, child, time.monotonic()

    def finish(self, step: Step, child: subprocess.Popen[bytes], began: float) -> None:
        """Wait for ``step`` within its limit; kill it and its children beyond."""
        limit = min(began + step.seconds, self.end)
        try:
            code: int | str = child.wait(max(0.1, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            code = "out of time"
        text = (self.work / f"{step.name}.log").read_bytes()[-LOGGED:].decode(errors="replace")
        with open(self.output / "log.txt", "a") as log:
            log.write(f"=== {step.name}: {' '.join(step.command)}\n{text}\n")
        self.say(f"- {step.name}: {'ok' if code == 0 else code}, {time.monotonic() - began:.0f} s")
        if code != 0:
            self.failed.append(step.name)
        lines = [line[:300] for line in text.splitlines() if line.strip() and "PASSED" not in line]
        self.say("\n".join(f"      {line}" for line in lines[-SHOWN:]))

    def run(self, todo: list[Step]) -> None:
        """The first step, without which nothing else is tried; those that are not timed, together; the timed ones alone."""
        first, *todo = todo
        if started := self.start(first):
            self.finish(*started)
        if self.failed:
            self.say("nothing else is tried")
            return
        together = [started for step in todo if not step.timed and (started := self.start(step))]
        for each in together:
            self.finish(*each)
        for step in todo:
            if step.timed and (started := self.start(step)):
                self.finish(*started)

    def pack(self, store: Path) -> None:
        """The result files and their tables."""
        if not (store / "results").is_dir():
            return
        with tarfile.open(self.output / "results.tar.gz", "w:gz") as archive:
            archive.add(store / "results", "results")
        tables = subprocess.run(
            [*FGQ, "report", "latency", "--results", str(store / "results"), "--format", "md"], capture_output=True
        )
        (self.output / "latency.md").write_bytes(tables.stdout or tables.stderr)


def environment() -> dict[str, str]:
    """Of every step: few threads, since steps share the processor; nothing is downloaded."""
    return {"OMP_NUM_THREADS": "4", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **os.environ}


def main() -> int:
    """Run what was asked for; the exit code says whether every step succeeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="Check and measure this machine's GPU.")
    parser.add_argument("-o", "--output", type=Path, default=Path(os.environ.get("OUT", "runs/gpu")))
    parser.add_argument(
        "--budget", type=float, default=float(os.environ.get("BUDGET", 900)), help="seconds, all steps together"
    )
    parser.add_argument(
        "--only", action="append", default=os.environ.get("ONLY", "").split(), help="a step's name; repeat"
    )
    parser.add_argument("--dry", action="store_true", help="on fake tensors, without a GPU")
    arguments = parser.parse_args()
    check = Check(arguments.output, arguments.budget, arguments.only)
    store = check.work / "store"
    todo = (dry_steps if arguments.dry else steps)(str(store), str(check.work / "scratch"), str(arguments.output))
    if unknown := set(arguments.only) - {step.name for step in todo}:
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(step.name for step in todo)}")
    check.run(todo)
    check.pack(store)
    check.say(f"failed: {', '.join(check.failed)}" if check.failed else "every step succeeded")
    return bool(check.failed)


if __name__ == "__main__":
    sys.exit(main())
