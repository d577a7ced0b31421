"""A section of the page: its own template, what that shows, and the numbers that its script draws."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgq_bench.errors import UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Section:
    """``missing`` says in one line which command makes what the section would show; then nothing else is shown."""

    name: str  # anchor, template ``<name>.html``, key of its data in the script
    title: str
    shown: Mapping[str, Any] = field(default_factory=dict)  # for the template
    data: Any = None  # for the script
    missing: str = ""


def section_or_reason(name: str, title: str, made: Callable[[], Section]) -> Section:
    """The section that ``made`` gives; where a file that it reads is damaged, one that says so in its place."""
    try:
        return made()
    except UserError as error:
        _log.warning("%s; left out of the page", error)
        return Section(name, title, missing=f"Left out: {error}.")


def damaged(path: Path, verb: str, reason: object) -> UserError:
    """The error that says which file to make again."""
    return UserError(f"{path}: not what fgq-bench {verb} writes ({reason}); delete it or make it again")


def rounded(value: float) -> float:
    """Six significant digits: what a plot needs, and the same on every machine."""
    return float(f"{value:.6g}")
