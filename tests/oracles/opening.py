"""How tests open a data set in files, and read a sequence of it whole, whatever frames a protocol or a pinned list has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import BadData
from fgq_bench.geometry_checks.warp import depth_disagreement
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.file_dataset import FileDataset
from fgq_bench.loaders.scene import Scene


def opened(name: str, root: Path, protocol: str | None = None) -> FileDataset:
    """The data set called ``name`` in ``root``."""
    data = open_dataset(load_card(DatasetCard, name), root, protocol=protocol)
    assert isinstance(data, FileDataset)
    return data


def whole(data: FileDataset, sequence: str) -> Scene:
    """All frames of a sequence."""
    return data.read(sequence, data.indexed[sequence])


def disagreement(scene: Scene, pairs: list[tuple[int, int]] | None = None) -> float:
    """Median disagreement of a scene's depth between its frames, metres."""
    found = depth_disagreement(scene, pairs)
    assert found is not None
    return found.median


def refused(data: FileDataset, sequence: str, message: str) -> None:
    """Reading the sequence must end with one line that names data set, sequence and ``message`` (a pattern)."""
    with pytest.raises(BadData, match=message) as caught:
        whole(data, sequence)
    text = str(caught.value)
    assert text.startswith(f"{data.card.name}, sequence {sequence}: ")
    assert "\n" not in text


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
