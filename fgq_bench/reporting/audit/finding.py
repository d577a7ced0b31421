"""What a check hands back, and the few ways in which checks sort printed cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from fgq_bench.reporting.published import PublishedCell

Severity = Literal["impossible", "inconsistent", "suspicious"]
OWN = {"fgq": "fgq", "quantvggt": "quantvggt", "qvggt": "qvggt"}
"""Paper -> the method that it proposes."""

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """One thing that does not add up.

    impossible: no data give these numbers; inconsistent: the paper contradicts itself; suspicious: it may be so, but a
    reader should know.
    """

    check: str
    severity: Severity
    paper: str
    where: str  # tables and data set
    cells: tuple[str, ...]  # the rows or cells that it is about
    expected: str
    found: str
    beyond_rounding: float | None = None  # how far off, at least, whatever the digits that are not printed
    unit: str = ""  # of ``beyond_rounding``


def group(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, in order of appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def is_score(cell: PublishedCell) -> bool:
    """Whether the cell is an accuracy that a task of this project measures."""
    return cell.protocol is not None and "." in cell.metric


def is_pose(cell: PublishedCell) -> bool:
    """Whether the cell is a score of camera poses, however the protocol makes a pair's pose."""
    return cell.metric.startswith(("pose.", "pose-first-camera."))


def row_key(cell: PublishedCell) -> tuple[str, str, str, str, str, str]:
    """What tells one row's scores on one data set from another's."""
    printed = cell.printed
    return cell.paper, cell.table, cell.model, printed.method, printed.bits, printed.dataset


def column_key(cell: PublishedCell) -> tuple[str, str, str, str, str]:
    """What tells one column of a table from another."""
    return cell.paper, cell.table, cell.model, cell.printed.dataset, cell.metric


def row_name(cell: PublishedCell) -> str:
    """``QuaRot W4A4``."""
    return f"{cell.printed.method} {cell.printed.bits}"


def metric_title(cell: PublishedCell) -> str:
    """``Acc mean`` or ``AUC@30``."""
    word = cell.printed.aggregation.split()[-1]
    return f"{cell.printed.metric} {word}" if cell.printed.metric in ("Acc", "Comp", "NC") else cell.printed.metric


def shown(cell: PublishedCell) -> str:
    """``0.8648 (Table 1)``."""
    return f"{cell.printed.value} ({cell.table})"


def among(names: Iterable[str]) -> str:
    """Names in order of appearance, each once."""
    return ", ".join(dict.fromkeys(names))
