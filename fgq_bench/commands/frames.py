"""``frames``: pin the frames that a protocol scores."""

from __future__ import annotations

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands.parsing import root_of
from fgq_bench.commands.printing import print_text
from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.file_dataset import FileDataset
from fgq_bench.loaders.frames import hash_frames, pinned_path, write_pinned


def pin_frames(name: str, roots: list[str], protocol: str | None) -> None:
    """Choose frames from what lies under the root, by the protocol's rule, and write ``datasets/frames/...json``."""
    dataset = open_dataset(load_card(DatasetCard, name), root_of(name, roots), protocol=protocol)
    if not isinstance(dataset, FileDataset):
        raise UserError(f"data set {name}: its frames are fixed already, there is nothing to choose")
    if dataset.entry.frames == "all":
        raise UserError(f"data set {name}: the protocol {dataset.setting.protocol} takes all frames, there is nothing to choose")  # fmt: skip
    for reason in dataset.unreadable.values():
        raise BadData(reason)
    chosen = dataset.draw()
    if not chosen:
        raise UserError(f"data set {name}: no sequence under {dataset.root} has enough frames for the protocol {dataset.setting.protocol}")  # fmt: skip
    path = pinned_path(name, dataset.setting.protocol)
    write_pinned(path, name, dataset.setting, chosen)
    left_out = "" if dataset.entry.frames == "each" else f", {len(dataset.indexed) - len(chosen)} left out (too few frames)"  # fmt: skip
    print_text(f"wrote {path}: {len(chosen)} sequences, {sum(map(len, chosen.values()))} frames{left_out}, hash {hash_frames(chosen)[:12]}")  # fmt: skip
