"""Reading sequences of a data set in full: does every file open, and is the geometry read rightly?"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from fgq_bench.errors import UserError
from fgq_bench.geometry_checks.pairs import Window, in_order, windows
from fgq_bench.geometry_checks.verdict import Verdict, judge_windows
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.file_dataset import FileDataset
from fgq_bench.loaders.scene import Scene

_log = logging.getLogger(__name__)
T = TypeVar("T")
MOST = 24  # frames of a scored sequence that are compared where its neighbours cannot be read


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
        judged = _windows(dataset, sequence, scene) if geometry else []
        verdicts = judge_windows(judged) if geometry else []
    except UserError as error:
        return Reading(sequence, str(error)), None
    except Exception as error:  # whatever a broken file does to a decoder: the other sequences must still be read
        _log.debug("%s", traceback.format_exc())
        return Reading(sequence, f"{dataset.card.name}, sequence {sequence}: {type(error).__name__}: {error}"), None
    height, width = scene.images.shape[-2:]
    reading = Reading(sequence, None, len(scene.images), width, height, verdicts=verdicts)
    reading.judged = [name for window in judged for name in window.names]
    if scene.depth is not None and scene.mask is not None:
        depth = scene.depth[scene.mask]
        reading.valid = float(scene.mask.float().mean())
        reading.depth = (float(depth.min()), float(depth.median()), float(depth.max()))
    return reading, scene


def _windows(dataset: Dataset, sequence: str, scene: Scene) -> list[Window]:
    """Frames that follow each other: those of ``scene``, which are scored, may be far apart.

    Where a copy holds only what is scored, or neighbours are damaged, those of ``scene`` as they were taken.
    """
    scored = dataset.frames[sequence]
    if isinstance(dataset, FileDataset) and scene.extrinsics is not None and dataset.entry.frames != "each":
        with suppress(UserError):
            return [Window(names, dataset.read(sequence, names)) for names in windows(dataset.indexed[sequence])]
    names = in_order(scored)[:MOST]
    return [Window(names, scene.select([scored.index(name) for name in names]))]


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
