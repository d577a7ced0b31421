"""What ``check`` found: the problems, the JSON, what is printed."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from fgq_bench.commands.inventory import Inventory
from fgq_bench.commands.printing import print_rows, print_text
from fgq_bench.commands.spot_check import Reading
from fgq_bench.geometry_checks.verdict import Verdict
from fgq_bench.loaders.base import Dataset

LINES = 30  # problems that are printed


def problems(inventory: Inventory, readings: list[Reading]) -> list[str]:
    """Everything that is wrong, one line each."""
    nothing = [] if inventory.scored else ["no sequence that the protocol scores is here"]
    failures = [f"not readable: {line}" for line in inventory.unreadable]
    failures += [f"not readable: {reading.failure}" for reading in readings if reading.failure]
    suspicious = [
        f"suspicious: sequence {reading.sequence}, {verdict.check}: {verdict.why}"
        for reading in readings
        for verdict in reading.verdicts
        if verdict.state == "suspicious"
    ]
    lacking = [f"missing: {line}" for line in inventory.missing] + [f"left out: {line}" for line in inventory.lost]
    return [*nothing, *lacking, *failures, *suspicious]


def describe(dataset: Dataset, inventory: Inventory, readings: list[Reading], wrong: list[str]) -> dict[str, Any]:
    """Everything that was found, for ``check.json``; a median without samples is null."""
    setting = dataset.setting
    about = {
        "dataset": dataset.card.name, "root": None if dataset.root is None else str(dataset.root),
        "protocol": setting.protocol, "options": setting.options, "notes": setting.entry.notes if setting.entry else "",
        "frame_list_hash": dataset.frame_list_hash,
    }  # fmt: skip
    found = {"inventory": asdict(inventory), "sequences": [asdict(reading) for reading in readings]}
    cleaned: dict[str, Any] = _finite({**about, **found, "problems": wrong})
    return cleaned


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_report(report: dict[str, Any], inventory: Inventory, readings: list[Reading]) -> None:
    """Two tables, a line per verdict, a line per problem."""
    facts = {
        "folder": report["root"] or "none needed",
        "protocol": report["protocol"],
        "options": ", ".join(f"{key} = {value}" for key, value in report["options"].items()) or "none",
        "notes": report["notes"] or "none",
        "found": f"{inventory.sequences} sequences, {inventory.frames} frames; categories: {inventory.categories}",
        "scored": f"{len(inventory.scored)} sequences, {inventory.scored_frames} frames",
        "not scored": "; ".join(f"{count} {reason}" for reason, count in inventory.left_out.items()) or "none",
        "ignored": "; ".join(inventory.ignored) or "nothing",
        "frames from": "the list pinned in datasets/frames" if inventory.pinned else "the protocol's rule",
        "read": f"{len(readings)} sequences, {sum(reading.failure is None for reading in readings)} without failure",
    }
    print_rows(f"check {report['dataset']}", [{"what": key, "state": value} for key, value in facts.items()])
    shown = [reading for reading in readings if reading.verdicts]
    print_rows("sequences", [_row(reading) for reading in shown])
    judged: dict[str, list[str]] = {}
    for reading in shown:
        for verdict in reading.verdicts:
            judged.setdefault(_line(verdict), []).append(reading.sequence)
    wrong = report["problems"]
    if len(wrong) > LINES:
        wrong = [*wrong[:LINES], f"... and {len(wrong) - LINES} more: see check.json (--output) or --json"]
    ending = f"problems: {len(report['problems'])}" if wrong else "nothing is wrong"
    for line in [*(f"{', '.join(names)}: {line}" for line, names in judged.items()), *wrong, ending]:
        print_text(line)


def _row(reading: Reading) -> dict[str, object]:
    depth = "none" if reading.depth is None else "{:.2f} / {:.2f} / {:.2f}".format(*reading.depth)
    return {
        "sequence": reading.sequence,
        "frames": reading.frames,
        "picture": f"{reading.width} x {reading.height}",
        "valid depth": "none" if reading.valid is None else f"{reading.valid:.0%}",
        "depth, m (min / median / max)": depth,
    }


def _line(verdict: Verdict) -> str:
    line = f"{verdict.check} {verdict.state}: {verdict.why}"
    if not verdict.pairs:
        return line
    decided = f"{verdict.fitting} of {verdict.pairs} pairs of frames fit, {verdict.contradicting} contradict"
    if verdict.worst is None or not verdict.worst.samples:
        return f"{line} ({decided})"
    a, b = verdict.worst.frames
    read, inverted, still = (
        _shown(verdict.check, value) for value in (verdict.worst.read, verdict.worst.inverted, verdict.worst.still)
    )
    worst = f"worst: {a} and {b}, off by {read}, with inverted poses by {inverted}, without motion by {still}"
    return f"{line} ({decided}; {worst})"


def _shown(check: str, error: float) -> str:
    return f"{error:.3g} px" if check == "epipolar" else f"{error:.2%} of the depth"
