"""What every check of a scene's geometry shares: the frames and pairs it looks at, and what it finds of a pair."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from fgq_bench.geometry import compose_rigid, invert_rigid
from fgq_bench.loaders.scene import Scene

WINDOWS = 3  # of a long sequence: its beginning, middle and end
OFFSETS = (0, 1, 3, 6, 10, 15, 21, 28)  # of a window's frames: pairs near to each other and pairs far apart
REACH = 3  # a frame is compared with so many that follow it in its window
CLEARLY = 2.0  # times smaller
MARGIN = 2.5  # times less than the share that contradicts is left by poses that fit

Outcome = Literal["fits", "contradicts", "undecided"]


@dataclass(frozen=True)
class Window:
    """Frames of a sequence that lie close enough to see the same things, in the order in which they were taken."""

    names: list[str]
    scene: Scene


@dataclass(frozen=True)
class PairError:
    """How badly two frames fit each other under their poses and under two readings that are wrong if the camera moved.

    All errors have the unit of the check; ``inf`` where nothing was seen in common.
    """

    frames: tuple[str, str]
    samples: int  # pixels or matches
    read: float
    inverted: float  # with camera-to-world matrices taken for world-to-camera ones
    still: float  # as if the camera had not moved
    noise: float  # that right poses may leave

    def outcome(self, share: float) -> Outcome:
        """Do the poses explain the change between the frames, or do they leave more than ``share`` of it?

        In between, near the noise and where inverted poses fit as well, nothing is decided: the camera hardly moves
        there, or true poses are not exact.
        """
        if not self.samples:
            return "undecided"
        if self.read > CLEARLY * self.noise and (self.read > share * self.still or self.inverted_is_better):
            return "contradicts"
        explained = self.read < share * self.still / MARGIN
        return "fits" if explained and self.inverted > max(self.noise, CLEARLY * self.read) else "undecided"

    @property
    def inverted_is_better(self) -> bool:
        """Whether inverted poses fit clearly better."""
        return self.read > CLEARLY * self.inverted

    @property
    def unexplained(self) -> float:
        """Share of the change between the frames that the poses do not explain."""
        return self.read / max(self.still, self.noise)


def windows(names: list[str]) -> list[list[str]]:
    """Frames to compare: all of a short sequence, else ``WINDOWS`` pieces whose steps grow from one frame to several.

    So each piece has pairs near to each other, for frames that are already far apart, and wide ones, for video.
    """
    ordered = in_order(names)
    if len(ordered) <= WINDOWS * len(OFFSETS):
        return [ordered]
    span = min(OFFSETS[-1], len(ordered) // WINDOWS - 1)
    offsets = dict.fromkeys(round(offset * span / OFFSETS[-1]) for offset in OFFSETS)
    starts = [round(i * (len(ordered) - 1 - span) / (WINDOWS - 1)) for i in range(WINDOWS)]
    return [[ordered[start + offset] for offset in offsets] for start in starts]


def in_order(names: list[str]) -> list[str]:
    """Frames as they were taken, by the numbers in their names: an index or a protocol may have shuffled them."""
    return sorted(
        names,
        key=lambda name: [int(part) if number % 2 else part for number, part in enumerate(re.split(r"([0-9]+)", name))],
    )


def pairs(frames: int) -> list[tuple[int, int]]:
    """Every frame with the ``REACH`` next ones."""
    return [(a, b) for a in range(frames) for b in range(a + 1, min(a + REACH, frames - 1) + 1)]


def misread(scene: Scene) -> Scene:
    """The scene as a loader would give it that takes camera-to-world matrices for world-to-camera ones."""
    assert scene.extrinsics is not None
    return replace(scene, extrinsics=invert_rigid(scene.extrinsics))


def relative_pose(extrinsics: Tensor, a: int, b: int) -> Tensor:
    """From frame a's camera coordinates to frame b's, [3, 4], of w2c extrinsics [S, 3, 4]."""
    return compose_rigid(extrinsics[b], invert_rigid(extrinsics[a]))


def no_motion() -> Tensor:
    """The relative pose of a camera that stands still, [3, 4]."""
    return torch.eye(3, 4, dtype=torch.float64)
