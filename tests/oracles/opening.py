"""How tests open a data set in files, and read a sequence of it whole, whatever frames a protocol or a pinned list has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import BadData
from fgq_bench.geometry import transform_points, unproject_depth
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
    """Median disagreement of a scene's depth between its frames (default: neighbours), both ways, metres."""
    assert scene.extrinsics is not None and scene.intrinsics is not None
    assert scene.depth is not None and scene.mask is not None
    assert scene.depth.shape[-2:] == scene.images.shape[-2:]
    extrinsics, intrinsics, depth = scene.extrinsics.double(), scene.intrinsics.double(), scene.depth.double()
    points = unproject_depth(depth, extrinsics, intrinsics)
    found = []
    for one, other in pairs or [(a, a + 1) for a in range(len(depth) - 1)]:
        for a, b in ((one, other), (other, one)):
            seen = transform_points(extrinsics[b], points[a])[scene.mask[a]]
            found.append(_off(seen, intrinsics[b], depth[b], scene.mask[b]))
    return float(torch.cat(found).median())


def _off(points: Tensor, intrinsics: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """|z - depth at the pixel| of points [N, 3] that a camera sees on a valid pixel of depth and mask [H, W]."""
    points = points[points[:, 2] > 0]
    pixels = points @ intrinsics.T
    columns, rows = (pixels[:, :2] / pixels[:, 2:]).floor().unbind(-1)
    inside = (columns >= 0) & (columns < depth.shape[1]) & (rows >= 0) & (rows < depth.shape[0])
    at = (rows[inside].long(), columns[inside].long())
    return (points[inside, 2] - depth[at])[mask[at]].abs()


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
