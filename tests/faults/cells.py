"""Cells that fail: a quantizer that raises, one that hangs, one that eats memory; the others are as if it had not been there."""

from __future__ import annotations

import time

import torch

from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.results import Result, Store
from tests.faults.outcome import Row
from tests.faults.sweep import Sweep

CARD = """name = "{name}"
title = "{name}"
summary = "a fault"
quantizer = "tests.faults.cells:{code}"
algorithm = 1
source = "none"
"""
LIMITS = ("--retries", "0", "--time-limit", "30", "--memory-limit", "3")


class Raises(Quantizer):
    """Fails in the middle of its work, with more than a line to say."""

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        job.round(job.targets[0])
        raise RuntimeError("first line\nTraceback of something\nlast line")


class Hangs(Quantizer):
    """Never comes back."""

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        while True:
            time.sleep(1)


class Eats(Quantizer):
    """Takes more and more memory, a GB in a second or so."""

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        held = []
        while True:
            held.append(torch.ones(2**26))
            time.sleep(0.25)


FAULTS = (
    ("raises", "Raises", (), "RuntimeError: first line"),
    ("hangs", "Hangs", LIMITS, "worker lost: not done after 30 seconds (tried once)"),
    ("eats", "Eats", LIMITS, "more than the limit of 3 GB (tried once)"),
)
"""Name, class, options of the command line, what the failed cells say."""


def failing_cells(sweep: Sweep) -> list[Row]:
    """A sweep with a faulty method among the others, in this process and, where it has to be ended, in another one."""
    rows = []
    for name, code, options, says in FAULTS:
        row = Row(f"a quantizer that {name}", "its cells fail with one line, all others are the undisturbed ones")
        card = sweep.folder / f"{name}.toml"
        card.write_text(CARD.format(name=name, code=code))
        output = sweep.folder / f"with-{name}"
        ended = sweep.start(output, methods=[str(card)], options=options).wait()
        problems = ended.problems or ([f"exit code {ended.code}, not 1"] if ended.code != 1 else [])
        results = Store(output / "results").all()
        failed = [result for result in results if result.status == "failed"]
        problems += _wrong(failed, name, says) + [f"{len(results) - len(failed)} sound cells"] * (len(results) - len(failed) != sweep.cells)  # fmt: skip
        problems += [line for line in sweep.differences(output) if f"/{name}-" not in line]
        row.judge("isolated", problems)
        row.note = " ".join(options)
        rows.append(row)
    return rows


def _wrong(failed: list[Result], name: str, says: str) -> list[str]:
    if not failed or any(result.method != name for result in failed):
        return [f"failed: {sorted({result.method for result in failed})}, not {name} alone"]
    return [f"error {r.error!r}, not one line with {says!r}" for r in failed if says not in (r.error or "") or "\n" in (r.error or "")]  # fmt: skip
