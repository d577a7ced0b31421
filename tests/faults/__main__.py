"""The fault campaign: ``python -m tests.faults --rounds N --seed S -o REPORT``.

Sweeps are killed (at random and at every file operation), run side by side, in containers, starved of disk and misled
about time; every kind of file is damaged, planted, or a pipe. Nothing may be lost: no stored result, no byte of
difference, no traceback, no damaged file taken for a sound one. Exit code 1 if so. The numbers of kills, crash points
and bad inputs follow ``--rounds``; the others are fewer. Run it from the repository's root.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from fgq_bench.environment import describe
from tests.faults.cells import failing_cells
from tests.faults.crashes import crashes
from tests.faults.damage import damaged_stores
from tests.faults.disks import disks
from tests.faults.dots import dots
from tests.faults.inputs import try_inputs
from tests.faults.interruptions import clocks, kills, runners
from tests.faults.kinds import all_kinds
from tests.faults.namespaces import namespaces
from tests.faults.outcome import Row
from tests.faults.pages import empty_pages
from tests.faults.pipes import pipes
from tests.faults.planted import planted
from tests.faults.report import write_report
from tests.faults.sweep import Sweep

PARTS = (
    "kills", "crashes", "runners", "namespaces", "disks", "clocks", "cells", "damage", "planted", "dots", "pipes", "pages",
    "inputs",
)  # fmt: skip


def campaign(sweep: Sweep, parts: list[str], rounds: int, inputs: int, seed: int) -> list[Row]:
    """All rows of the report; every part is told what it does."""
    few, rows = max(2, rounds // 10), []
    for part in parts:
        print(f"{part} ...", file=sys.stderr, flush=True)
        rng = random.Random(f"{seed} {part}")
        if part == "inputs":
            torch.set_num_threads(1)
            kinds = all_kinds(sweep.folder / "inputs", sweep.manifest)
            rows += [try_inputs(kind, -(-inputs // len(kinds)), seed) for kind in kinds]
        else:
            rows += _on_sweeps(part, sweep, rounds, few, rng)
    return rows


def _on_sweeps(part: str, sweep: Sweep, rounds: int, few: int, rng: random.Random) -> list[Row]:
    """The rows of a part that is done to the sweep."""
    parts: dict[str, Callable[[], list[Row]]] = {
        "kills": lambda: [kills(sweep, rounds, rng)],
        "crashes": lambda: crashes(sweep, rounds),
        "runners": lambda: [runners(sweep, count, few, rng) for count in (2, 4)],
        "namespaces": lambda: [namespaces(sweep, few, rng)],
        "disks": lambda: disks(sweep, few, rng),
        "clocks": lambda: [clocks(sweep, few, rng)],
        "cells": lambda: failing_cells(sweep),
        "damage": lambda: damaged_stores(sweep, few, rng),
        "planted": lambda: planted(sweep),
        "dots": lambda: dots(sweep),
        "pipes": lambda: pipes(sweep),
        "pages": lambda: empty_pages(sweep),
    }
    return parts[part]()


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="kills")
    parser.add_argument(
        "--inputs", type=int, default=None, help="damaged files (default: 2 for each round, at least 200)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; repeatable")
    parser.add_argument("-o", "--output", type=Path, required=True, help="report, .md; .json is written beside it")
    options = parser.parse_args()
    inputs = max(200, 2 * options.rounds) if options.inputs is None else options.inputs
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        sweep = Sweep(Path(folder))
        rows = campaign(sweep, options.part or list(PARTS), options.rounds, inputs, options.seed)
        environment = describe()
        about = {
            "command": shlex.join(["python", "-m", "tests.faults", *sys.argv[1:]]),
            "seed": options.seed, "cells": sweep.cells, "seconds": round(sweep.seconds, 2),
            "machine": f"{environment['cpu']}, one thread",
            "environment": environment, "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        lost = write_report(options.output, rows, about)
    print(f"{sum(row.tried for row in rows)} faults, lost: {lost}; wrote {options.output}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
