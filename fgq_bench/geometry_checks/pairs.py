"""What every check of a scene's geometry shares: the frames and pairs it looks at, a median, poses misread on purpose."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from fgq_bench.geometry import invert_rigid
from fgq_bench.loaders.scene import Scene

FRAMES = 8  # that a check looks at
WIDEST = 5  # frames of a sequence between two of them


@dataclass(frozen=True)
class PairMedian:
    """A median over pairs of frames."""

    median: float  # inf where no sample was found
    samples: int  # pixels or matches that it is the median of
    pairs: int  # of frames in which there were any


def neighbours(frames: int) -> list[tuple[int, int]]:
    """Every frame with the next one."""
    return list(pairwise(range(frames)))


def in_order(names: list[str]) -> list[str]:
    """Frames as they were taken, by the numbers in their names: an index or a protocol may have shuffled them."""
    return sorted(
        names,
        key=lambda name: [int(part) if number % 2 else part for number, part in enumerate(re.split(r"([0-9]+)", name))],
    )


def window(names: list[str]) -> list[str]:
    """At most ``FRAMES`` frames about the middle of a sequence, close enough to see the same things.

    A video's frames are up to ``WIDEST`` apart, so that the camera moves; those of a short sequence follow each other.
    """
    step = max(1, min(WIDEST, len(names) // (5 * FRAMES)))
    first = max(0, (len(names) - FRAMES * step) // 2)
    return in_order(names)[first : first + FRAMES * step : step]


def misread(scene: Scene) -> Scene:
    """The scene as a loader would give it that takes camera-to-world matrices for world-to-camera ones."""
    assert scene.extrinsics is not None
    return replace(scene, extrinsics=invert_rigid(scene.extrinsics))
