"""Finished stores whose files are damaged: what is wrong is told from what was stored, and made again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.faults.mutations import BYTES, folder
from tests.faults.outcome import Row
from tests.faults.sweep import Sweep

PARTS = {  # what is damaged, and what is removed so that it is read again
    "results": (),
    "artifacts": ("results",),
    "cache/predictions": ("results",),
    "cache/calibration": ("results", "artifacts"),
}
CHANGES = tuple(change for change in BYTES if change is not folder)  # nobody makes folders inside a store


def damaged_stores(sweep: Sweep, rounds: int, rng: random.Random) -> list[Row]:
    """Each part of a store in turn: up to three of its files are damaged, then the sweep is run again."""
    rows = []
    for part, removed in PARTS.items():
        row = Row(f"damaged files in {part}", "detected by hash and made again: the undisturbed store")
        for number in range(rounds):
            output = sweep.folder / "damaged"
            shutil.copytree(sweep.folder / "undisturbed", output)
            names = [_damage(path, rng) for path in rng.sample(_files(output / part), 3)]
            for each in removed:
                shutil.rmtree(output / each)
            row.judge("made again", [f"round {number}, {', '.join(names)}: {why}" for why in sweep.finish(output)])
        rows.append(row)
    return rows


def _files(place: Path) -> list[Path]:
    return [path for path in sorted(place.rglob("*")) if path.is_file() and not path.name.endswith(".meta.json")]


def _damage(path: Path, rng: random.Random) -> str:
    change = rng.choice(CHANGES)
    change(path, rng)
    return f"{change.__name__} {path.name}"
