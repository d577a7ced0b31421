"""Data sets in files: what a loader must say of a sequence and of a frame, and all that follows from it.

A loader is an index and a reader of single frames; frames are chosen, pictures resized and cropped, ground truth moved
along and checked here. The index is read part by part, so that one that is broken is no other's fault. A complete one::

    class Folder(FileDataset):
        '''Pictures of ROOT/<sequence>/*.jpg.'''

        layout = "<sequence>/*.jpg"

        def index(self, part: str) -> FrameList:
            return {part: [path.name for path in self.listing.files(self.root / part, ".jpg")]}

        def read_frame(self, sequence: str, frame: str) -> Frame:
            return Frame(inside(self.root, sequence, frame))
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.cards import DatasetCard, ProtocolEntry
from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.frames import FrameList, choose_frames, pinned_path, read_pinned
from fgq_bench.loaders.images import Warp, fit
from fgq_bench.loaders.listing import Listing
from fgq_bench.loaders.misplaced import explain
from fgq_bench.loaders.orientation import upright
from fgq_bench.loaders.reading import Floats, read_picture
from fgq_bench.loaders.scene import Scene
from fgq_bench.loaders.setting import Setting
from fgq_bench.loaders.stacking import FittedFrame, check_geometry, stack

SHAPE = 0.01  # how far a depth map's shape may be from its picture's, as a share
NOTES = 20  # lines about a copy that a result keeps


@dataclass
class Frame:
    """A frame as a data set stores it; what a data set does not have is None."""

    image: Path
    extrinsics: Floats | None = None  # [3, 4] w2c, OpenCV axes, metres
    intrinsics: Floats | None = None  # [3, 3] pixels of the stored picture
    depth: NDArray[np.float32] | None = None  # [h, w] z-depth, metres, in the picture's frame; 0 or not finite: invalid
    aspect: float | None = None  # true width / height, where the stored picture was squashed


class FileDataset(Dataset):
    """A data set whose sequences lie in files under ``root``."""

    layout: ClassVar[str] = "its files"  # what a root holds, for whoever gives another folder
    root: Path
    entry: ProtocolEntry

    def __init__(
        self, card: DatasetCard, options: Dataset.Options, setting: Setting, root: Path | None, limit: int | None
    ) -> None:
        if root is None:
            raise UserError(f"data set {card.name} lies in files: give its folder with --root {card.name}=PATH")
        assert setting.entry is not None
        super().__init__(card, options, setting, root, limit)
        self.entry = setting.entry
        self.listing = Listing(root)

    def parts(self) -> list[str]:
        """What the index is read from, one after the other: scenes, clips, categories; here: the root's folders.

        Raises UserError where the layout is not that of the data set.
        """
        return [folder.name for folder in self.listing.folders(self.root)]

    @abstractmethod
    def index(self, part: str) -> FrameList:
        """Every sequence of a part with the names of all its frames, in the order in which they were taken.

        Names must not depend on the root. What has no frames is left out. Raises UserError for a part that is broken.
        """

    @abstractmethod
    def read_frame(self, sequence: str, frame: str) -> Frame:
        """One frame of ``index()``; raises BadData for missing or damaged files."""

    def category(self, sequence: str) -> str:
        """What scores are averaged over first, where a protocol does so; here: the first part of the name."""
        return sequence.split("/")[0] if "/" in sequence else self.card.name

    def place(self, sequence: str) -> str:
        """The sequence of the index that a scored one comes from: itself, or what its single frame lies in."""
        return sequence.rpartition("/")[0] if self.entry.frames == "each" else sequence

    def has_pose(self, sequence: str, frame: str) -> bool:
        """False for a frame that protocols count, though it has no ground truth; it is not read."""
        return True

    def incomplete(self) -> list[str]:
        """What a complete copy has and this one lacks, one line each."""
        return []

    def hint(self) -> str | None:
        """What a root is in which nothing was found, where the loader knows it."""
        return None

    def notes(self) -> list[str]:
        """See ``Dataset``: ``incomplete()``, and what the listing left out; ``NOTES`` lines at most."""
        return self._notes

    @cached_property
    def _notes(self) -> list[str]:
        incomplete = self.incomplete()  # which lists folders
        lines = [*self.listing.lost(), *self.listing.ignored(), *incomplete]
        more = f"and {len(lines) - NOTES} lines more: see fgq-bench check {self.card.name}"
        return lines if len(lines) <= NOTES else [*lines[:NOTES], more]

    @property
    def counted(self) -> FrameList:
        """Every sequence that is here with all its frames, as protocols count them."""
        return self._read_parts[0]

    @property
    def unreadable(self) -> dict[str, str]:
        """Parts whose index is bad data, with why."""
        return self._read_parts[1]

    @cached_property
    def _read_parts(self) -> tuple[FrameList, dict[str, str]]:
        found: FrameList = {}
        broken: dict[str, str] = {}
        for part in self.parts():
            try:
                found |= {sequence: names for sequence, names in self.index(part).items() if names}
            except UserError as error:
                broken[part] = f"{self.card.name}, {part}: {error}"
        return found, broken

    @cached_property
    def indexed(self) -> FrameList:
        """Every sequence that is here with the frames that can be read; raises UserError where there is none."""
        posed = {name: [frame for frame in frames if self.has_pose(name, frame)] for name, frames in self.counted.items()}  # fmt: skip
        found = {name: frames for name, frames in posed.items() if frames}
        if not found:
            for reason in self.unreadable.values():
                raise UserError(reason)
            raise UserError(f"data set {self.card.name}: no sequence in {self.root}: expected {self.layout}{explain(self)}; see fgq-bench show {self.card.name}")  # fmt: skip
        return found

    @property
    def broken(self) -> dict[str, str]:
        """See ``Dataset``; empty where the frames are pinned: each sequence is then bad data itself."""
        return {} if self._pinned else self.unreadable

    @cached_property
    def _pinned(self) -> FrameList | None:
        return read_pinned(pinned_path(self.card.name, self.setting.protocol), self.setting)

    def draw(self) -> FrameList:
        """The frames of what is here by the protocol's rule, which also counts those that have no pose."""
        readable = {name: set(frames) for name, frames in self.indexed.items()}
        chosen = {
            name: [frame for frame in frames if frame in readable.get(self.place(name), ())]
            for name, frames in choose_frames(self.entry, self.counted).items()
        }
        return {name: frames for name, frames in chosen.items() if frames}

    @cached_property
    def _chosen(self) -> FrameList:
        return self.draw() if self._pinned is None else self._pinned

    def frame_list(self) -> FrameList:
        """See ``Dataset``: the list pinned in ``datasets/frames``, else drawn from the index by the protocol's rule."""
        return self._chosen

    def load(self, sequence: str) -> Scene:
        """See ``Dataset``; raises BadData that names the sequence and the file."""
        names = self.frames.get(sequence)
        if names is None:
            raise UserError(f"data set {self.card.name}: no sequence {sequence!r}")
        return self.read(sequence, names)

    def read(self, sequence: str, names: list[str]) -> Scene:
        """Some frames of a sequence, in that order; raises BadData that names the sequence and the file."""
        place = self.place(sequence)
        try:
            if not names:
                raise BadData("no frames")
            fitted = [self._fit(place, names[0])]
            fitted += [self._fit(place, name, fitted[0].warp) for name in names[1:]]
            scene = stack(sequence, self.category(place), fitted)
            check_geometry(scene)
        except (
            UserError,
            OSError,
        ) as error:  # also of the index that the sequence hangs on; OSError: a name that is too long
            raise BadData(f"{self.card.name}, sequence {sequence}: {error}") from None
        return scene

    def _fit(self, sequence: str, name: str, first: Warp | None = None) -> FittedFrame:
        frame = self.read_frame(sequence, name)
        for what, value in (("pose", frame.extrinsics), ("intrinsics", frame.intrinsics)):
            if value is not None and not np.isfinite(value).all():
                raise BadData(f"frame {name}: {what} is not finite")
        image = read_picture(frame.image)
        if frame.intrinsics is None and frame.depth is None:  # which are those of the picture as it is stored
            image = upright(image)
        try:
            pixels, warp = fit(image, self.entry, frame.aspect, first)
            depth = None if frame.depth is None else self._fit_depth(frame, frame.depth, warp, image.size)
        except BadData as error:
            raise BadData(f"{frame.image}: {error}") from None
        extrinsics = None if frame.extrinsics is None else torch.from_numpy(frame.extrinsics)
        intrinsics = None if frame.intrinsics is None else warp.intrinsics(torch.from_numpy(frame.intrinsics))
        return FittedFrame(pixels, warp, extrinsics, intrinsics, depth)

    def _fit_depth(self, frame: Frame, depth: NDArray[np.float32], warp: Warp, stored: tuple[int, int]) -> Tensor:
        """A map [h, w] beside a picture whose stored size is ``stored`` (width, height), as the protocol scores it."""
        rows, columns = depth.shape
        if abs(columns / rows / (frame.aspect or stored[0] / stored[1]) - 1) > SHAPE:
            raise BadData(f"a depth map of {columns} x {rows} does not cover this picture of {stored[0]} x {stored[1]}")
        if self.entry.truth == "image":
            return torch.from_numpy(warp.depth(depth, stored))
        if warp.shift_x or warp.shift_y:
            raise BadData("the protocol scores depth as it is stored, but this picture is cropped or padded")
        return torch.from_numpy(depth)
