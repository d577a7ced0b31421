"""What is given must be used: a folder or a manifest that a command does not read is a mistake of whoever gives it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fgq_bench.errors import UserError

if TYPE_CHECKING:
    from fgq_bench.planning import Request, Run


def check_used(request: Request, runs: list[Run]) -> None:
    """Raise UserError for folders (see ``check_roots``) or a manifest in ``request`` that none of its ``runs`` uses."""
    check_roots(request.roots, datasets_of(runs))
    if request.calibration is not None and not any(run.clips for run in runs):
        raise unused_calibration(request.calibration)


def unused_calibration(name: str) -> UserError:
    """What to raise for a manifest that is given in vain."""
    return UserError(f"--calibration {name}: nothing that is asked for learns from data: leave it out, or name a method that does")  # fmt: skip


def datasets_of(runs: list[Run]) -> set[str]:
    """Names of the data sets that ``runs`` score or calibrate on."""
    return {run.dataset.card.name for run in runs}.union(*(run.clips.datasets for run in runs if run.clips))


def check_roots(roots: Iterable[str], used: Iterable[str]) -> None:
    """Raise UserError where a folder is given for a data set that is not ``used``."""
    if foreign := sorted(set(roots) - set(used)):
        raise UserError(f"--root names {foreign[0]!r}, which is not among the data sets of this run")
