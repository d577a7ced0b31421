"""Cells that fail: a quantizer that raises, one that eats memory; the others are as if it had not been there."""

from __future__ import annotations

import resource

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
ALLOWED = 8 * 2**30  # bytes of address space of a process that eats memory


class Raises(Quantizer):
    """Fails in the middle of its work, with more than a line to say."""

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        job.round(job.targets[0])
        raise RuntimeError("first line\nTraceback of something\nlast line")


class Eats(Quantizer):
    """Asks for more memory, until it is refused."""

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        held = []
        while True:
            held.append(torch.ones(2**28))


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ALLOWED, ALLOWED))


def failing_cells(sweep: Sweep) -> list[Row]:
    """A sweep with a faulty method among the others; hanging ones need a limit of the executor."""
    rows = []
    for name, code, prepare in (("raises", "Raises", lambda: None), ("eats", "Eats", _limit_memory)):
        row = Row(f"a quantizer that {name}", "its cells fail with one line, all others are the undisturbed ones")
        card = sweep.folder / f"{name}.toml"
        card.write_text(CARD.format(name=name, code=code))
        output = sweep.folder / f"with-{name}"
        ended = sweep.start(output, methods=[str(card)], prepare=prepare).wait()
        problems = ended.problems or ([f"exit code {ended.code}, not 1"] if ended.code != 1 else [])
        results = Store(output / "results").all()
        failed = [result for result in results if result.status == "failed"]
        problems += _wrong(failed, name) + [f"{len(results) - len(failed)} sound cells"] * (len(results) - len(failed) != sweep.cells)  # fmt: skip
        problems += [line for line in sweep.differences(output) if f"/{name}-" not in line]
        row.judge("isolated", problems)
        rows.append(row)
    rows[-1].note = f"within {ALLOWED // 2**30} GiB of address space; a limit per cell needs executor limits"
    rows.append(
        Row("a quantizer that hangs", "its cell ends at its time limit", note="not tried: needs executor limits")
    )
    return rows


def _wrong(failed: list[Result], name: str) -> list[str]:
    if not failed or any(result.method != name for result in failed):
        return [f"failed: {sorted({result.method for result in failed})}, not {name} alone"]
    return [
        f"error of {len((result.error or '').splitlines())} lines"
        for result in failed
        if "\n" in (result.error or "\n")
    ]
