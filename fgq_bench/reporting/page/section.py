"""A section of the page: its own template, what that shows, and the numbers that its script draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgq_bench.documents import read_json
from fgq_bench.errors import UserError


@dataclass(frozen=True)
class Section:
    """``missing`` says in one line which command makes what the section would show; then nothing else is shown."""

    name: str  # anchor, template ``<name>.html``, key of its data in the script
    title: str
    shown: Mapping[str, Any] = field(default_factory=dict)  # for the template
    data: Any = None  # for the script
    missing: str = ""


def read_facts(path: Path, verb: str) -> dict[str, Any] | None:
    """The JSON file that ``fgq-bench VERB`` writes, None where there is none; raises UserError if it is damaged."""
    if not path.is_file():
        return None
    try:
        facts = read_json(path)
    except (OSError, ValueError) as error:
        raise damaged(path, verb, error) from None
    if not isinstance(facts, dict):
        raise damaged(path, verb, "not an object")
    return facts


def damaged(path: Path, verb: str, reason: object) -> UserError:
    """The error that says which file to make again."""
    return UserError(f"{path}: not what fgq-bench {verb} writes ({reason}); delete it or make it again")


def rounded(value: float) -> float:
    """Six significant digits: what a plot needs, and the same on every machine."""
    return float(f"{value:.6g}")
