"""What a copy of a data set holds, what a protocol makes of it, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.file_dataset import FileDataset
from fgq_bench.loaders.frames import FrameList, pinned_path
from fgq_bench.loaders.listing import some


@dataclass
class Inventory:
    """Counts of sequences and frames; what is missing, one line each."""

    sequences: int  # that were found
    frames: int
    categories: int
    scored: list[str]  # sequences that the protocol scores and that are here
    scored_frames: int
    pinned: bool = False  # whether the frames come from a list in datasets/frames
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> sequences that are here and not scored
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # parts of the index that are bad data, one line each
    lost: list[str] = field(default_factory=list)  # what is here and not read, one line per reason
    ignored: list[str] = field(default_factory=list)  # what is here and no data, one line per reason


def take_inventory(dataset: Dataset) -> Inventory:
    """Read the index of a data set, no picture; raises UserError where there is none."""
    scored = dataset.frame_list()
    if not isinstance(dataset, FileDataset):
        return Inventory(len(scored), _count(scored), 1, list(scored), _count(scored))
    index = dataset.indexed
    chosen = dataset.draw()
    used, usable = _places(dataset, scored), _places(dataset, chosen)
    left_out = {
        f"too few frames for the protocol ({_rule(dataset)})": len(index.keys() - usable),
        "not in the pinned list": len(usable - used),
    }
    absent = [name for name in scored if dataset.place(name) not in index]
    gaps = [
        name
        for name, frames in scored.items()
        if (place := dataset.place(name)) in index and not set(frames) <= set(index[place])
    ]
    missing = [
        f"{len(names)} of {len(scored)} scored sequences {what}: {some(names)}"
        for names, what in ((absent, "are not here"), (gaps, "lack frames that are scored"))
        if names
    ]
    here = {name: frames for name, frames in scored.items() if name not in {*absent, *gaps}}
    return Inventory(
        sequences=len(index),
        frames=_count(index),
        categories=len({dataset.category(name) for name in index}),
        scored=list(here),
        scored_frames=_count(here),
        pinned=pinned_path(dataset.card.name, dataset.setting.protocol).is_file(),
        left_out={reason: count for reason, count in left_out.items() if count},
        missing=missing + dataset.incomplete(),
        unreadable=list(dataset.unreadable.values()),
        lost=dataset.listing.lost(),
        ignored=dataset.listing.ignored(),
    )


def _places(dataset: FileDataset, sequences: Iterable[str]) -> set[str]:
    return {dataset.place(name) for name in sequences}


def _rule(dataset: FileDataset) -> str:
    entry = dataset.entry
    drawn = entry.count if entry.frames == "random" else None
    return f"{max(entry.minimum, drawn or 0)} needed"


def _count(frames: FrameList) -> int:
    return sum(map(len, frames.values()))
