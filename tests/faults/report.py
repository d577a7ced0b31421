"""The campaign's report: Markdown for people, JSON with every loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgq_bench.files import write_json, write_text
from tests.faults.outcome import Row


def write_report(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> int:
    """Write ``path`` (Markdown) and the same as JSON beside it; how many were lost."""
    lost = sum(len(row.lost) for row in rows)
    write_text(path.with_suffix(".md"), to_markdown(rows, about))
    write_json(path.with_suffix(".json"), {**about, "lost": lost, "rows": [asdict(row) for row in rows]})
    return lost


def to_markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """A table of all faults, then every loss."""
    kills = sum(row.outcomes.get("survived", 0) for row in rows)
    inputs = sum(row.tried for row in rows if row.fault.startswith("bad input"))
    lost = [loss for row in rows for loss in row.lost]
    lines = [
        "# Fault campaign", "",
        f"`{about['command']}`: {kills} kills survived, {inputs} bad inputs tried, **lost: {len(lost)}**.", "",
        f"{about['cells']} cells per sweep, {about['seconds']:.1f} s undisturbed; {about['machine']}; {about['finished']}.", "",
        "| Fault | Tried | Became | Lost | Expected |", "|---|---:|---|---:|---|",
    ]  # fmt: skip
    for row in rows:
        became = ", ".join(f"{count} {outcome}" for outcome, count in sorted(row.outcomes.items()))
        became = "; ".join(filter(None, (became, row.note)))
        lines.append(f"| {row.fault} | {row.tried} | {became} | {len(row.lost)} | {row.expected} |")
    if lost:
        lines += ["", "## Lost", "", *(f"- {line}" for line in lost)]
    return "\n".join(lines) + "\n"
