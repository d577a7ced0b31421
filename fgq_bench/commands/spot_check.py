"""Reading sequences of a data set in full: does every file open, and is the geometry read rightly?"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from fgq_bench.errors import UserError
from fgq_bench.geometry_checks.pairs import FRAMES, in_order, window
from fgq_bench.geometry_checks.verdict import Verdict, judge_scene
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.file_dataset import FileDataset
from fgq_bench.loaders.scene import Scene

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Reading:
    """What came of one sequence."""

    sequence: str
    failure: str | None = None
    frames: int = 0
    width: int = 0  # pixels, after resizing
    height: int = 0
    valid: float | None = None  # share of pixels with depth; None: no depth
    depth: tuple[float, float, float] | None = None  # smallest, median, largest, metres
    judged: list[str] = field(default_factory=list)  # frames that the verdicts are about
    verdicts: list[Verdict] = field(default_factory=list)


def read_sequence(dataset: Dataset, sequence: str, geometry: bool) -> tuple[Reading, Scene | None]:
    """Read the frames that are scored and, for ``geometry``, neighbouring ones; a failure is kept, not raised."""
    try:
        scene = dataset.load(sequence)
        frames, neighbours = _neighbours(dataset, sequence, scene) if geometry else ([], scene)
        verdicts = judge_scene(neighbours) if geometry else []
    except UserError as error:
        return Reading(sequence, str(error)), None
    except Exception as error:  # whatever a broken file does to a decoder: the other sequences must still be read
        _log.debug("%s", traceback.format_exc())
        return Reading(sequence, f"{dataset.card.name}, sequence {sequence}: {type(error).__name__}: {error}"), None
    height, width = scene.images.shape[-2:]
    reading = Reading(sequence, None, len(scene.images), width, height, judged=frames, verdicts=verdicts)
    if scene.depth is not None and scene.mask is not None:
        depth = scene.depth[scene.mask]
        reading.valid = float(scene.mask.float().mean())
        reading.depth = (float(depth.min()), float(depth.median()), float(depth.max()))
    return reading, scene


def _neighbours(dataset: Dataset, sequence: str, scene: Scene) -> tuple[list[str], Scene]:
    """Frames that follow each other, by name and read: those of ``scene``, which are scored, may be far apart.

    Where a copy holds only what is scored, or neighbours are damaged, those of ``scene`` as they were taken.
    """
    scored = dataset.frames[sequence]
    if isinstance(dataset, FileDataset) and scene.extrinsics is not None and dataset.entry.frames != "each":
        names = window(dataset.indexed[sequence])
        with suppress(UserError):
            return names, dataset.read(sequence, names)
    names = in_order(scored)[:FRAMES]
    return names, scene.select([scored.index(name) for name in names])


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
