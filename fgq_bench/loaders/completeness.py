"""Numbered frames: what of them is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise


def missing_frames(names: Iterable[str], first: int, count: int | None = None, step: int = 1) -> str | None:
    """A line about the numbers that are not among ``names``; None where all are.

    Args:
        names: of frames; what is no number is passed over.
        first: number of a complete sequence's first frame.
        count: how many frames a complete sequence has; None: it ends with the last that is here.
        step: between the numbers of two frames.
    """
    numbers = {int(name) for name in names if name.isdecimal()}
    if count is None:
        count = (max(numbers, default=first - step) - first) // step + 1
    missing = [number for number in range(first, first + count * step, step) if number not in numbers]
    if not missing:
        return None
    return f"{count - len(missing)} of {count} frames, number {missing[0]} is the first that is not here"


def usual_step(numbers: list[int]) -> int:
    """The most common distance between neighbours of sorted numbers; 1 where there are none."""
    steps = Counter(b - a for a, b in pairwise(numbers))
    return min(steps, key=lambda step: (-steps[step], step)) if steps else 1
