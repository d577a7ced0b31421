"""A folder in which nothing was found: is it packed, one too high, one too low?"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fgq_bench.errors import UserError

if TYPE_CHECKING:
    from fgq_bench.loaders.file_dataset import FileDataset

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
TRIED = 50  # folders below a root


def explain(dataset: FileDataset) -> str:
    """What may be wrong with a data set's root, to follow a message; empty where nothing is known."""
    if (known := dataset.hint()) is not None:
        return f"; {known}"
    if (other := _elsewhere(dataset)) is not None:
        return f"; give {other} instead"
    if packed := dataset.listing.files(dataset.root, *ARCHIVES):
        return f"; unpack {packed[0].name} first" + (f" (and {len(packed) - 1} more)" if len(packed) > 1 else "")
    return "".join(f"; left out: {line}" for line in dataset.listing.lost())


def _elsewhere(dataset: FileDataset) -> Path | None:
    """The folder above or one below the root in which there are sequences."""
    below = islice(dataset.listing.folders(dataset.root), TRIED)
    return next((place for place in (*below, dataset.root.resolve().parent) if _finds(dataset, place)), None)


def _finds(dataset: FileDataset, root: Path) -> bool:
    """Whether a part of ``root`` has a sequence."""
    there = type(dataset)(dataset.card, dataset.options, dataset.setting, root, None)
    try:
        return any(any(there.index(part).values()) for part in islice(there.parts(), TRIED))
    except (UserError, OSError):
        return False
