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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.cards import DatasetCard, ProtocolEntry
from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.frames import FrameList, choose_frames, pinned_path, read_pinned
from fgq_bench.loaders.images import Warp, fit, margins
from fgq_bench.loaders.listing import Listing
from fgq_bench.loaders.misplaced import explain
from fgq_bench.loaders.orientation import upright
from fgq_bench.loaders.reading import Floats, read_picture
from fgq_bench.loaders.scene import Scene
from fgq_bench.loaders.setting import Setting

NEAREST = 1e-4  # metres: depth at or below it is not valid
PLAUSIBLE = (1e-2, 1e3)  # metres: where the median depth of a sequence lies, if its unit is read rightly
SHAPE = 0.01  # how far a depth map's shape may be from its picture's, as a share
FARTHEST = 1e5  # metres from the origin that a camera may be
NOTES = 20  # lines about a copy that a result keeps


@dataclass
class Frame:
    """A frame as a data set stores it; what a data set does not have is None."""

    image: Path
    extrinsics: Floats | None = None  # [3, 4] w2c, OpenCV axes, metres
    intrinsics: Floats | None = None  # [3, 3] pixels of the stored picture
    depth: NDArray[np.float32] | None = None  # [h, w] z-depth, metres, in the picture's frame; 0 or not finite: invalid
    aspect: float | None = None  # true width / height, where the stored picture was squashed


@dataclass
class _Fitted:
    """A frame as the model gets it."""

    pixels: Tensor  # [3, H, W]
    warp: Warp
    extrinsics: Tensor | None  # [3, 4]
    intrinsics: Tensor | None  # [3, 3] pixels
    depth: Tensor | None  # [H, W], or as stored where the protocol scores it there


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
            scene = _stack(sequence, self.category(place), fitted)
            _check_geometry(scene)
        except (
            UserError,
            OSError,
        ) as error:  # also of the index that the sequence hangs on; OSError: a name that is too long
            raise BadData(f"{self.card.name}, sequence {sequence}: {error}") from None
        return scene

    def _fit(self, sequence: str, name: str, first: Warp | None = None) -> _Fitted:
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
        return _Fitted(pixels, warp, extrinsics, intrinsics, depth)

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


def _stack(sequence: str, category: str, fitted: list[_Fitted]) -> Scene:
    """A scene of frames, padded with white to one size."""
    width, height = max(f.warp.width for f in fitted), max(f.warp.height for f in fitted)
    for one in fitted:
        if (one.warp.width, one.warp.height) != (width, height):
            _pad(one, width, height)
    intrinsics = [f.intrinsics for f in fitted if f.intrinsics is not None]
    poses = [f.extrinsics for f in fitted if f.extrinsics is not None]
    maps = [f.depth for f in fitted if f.depth is not None]
    for what, found in (("pose", poses), ("intrinsics", intrinsics), ("depth", maps)):
        if len(found) not in (0, len(fitted)):
            raise BadData(f"{len(found)} of {len(fitted)} frames have {what}")
    if len({depth.shape for depth in maps}) > 1:
        raise BadData(f"depth maps differ in size: {sorted({tuple(depth.shape) for depth in maps})}")
    depth = torch.stack(maps).float() if maps else None
    mask = None
    if depth is not None:
        mask = depth.isfinite() & (depth > NEAREST)
        depth = torch.where(mask, depth, torch.zeros(()))
    return Scene(
        sequence,
        category,
        torch.stack([f.pixels for f in fitted]),
        torch.stack(poses).float() if poses else None,
        torch.stack(intrinsics).float() if intrinsics else None,
        depth,
        mask,
    )


def _pad(one: _Fitted, width: int, height: int) -> None:
    """Put a frame into the middle of a larger white one; there is no depth beside it."""
    if one.depth is not None and one.depth.shape != (one.warp.height, one.warp.width):
        raise BadData("the protocol scores depth as it is stored, but the pictures differ in size")
    left, top, right, bottom = margins(one.warp, width, height)
    one.pixels = F.pad(one.pixels, (left, right, top, bottom), value=1.0)
    one.depth = None if one.depth is None else F.pad(one.depth, (left, right, top, bottom))
    if one.intrinsics is not None:
        one.intrinsics = one.intrinsics + one.intrinsics.new_tensor([[0, 0, left], [0, 0, top], [0, 0, 0]])


def _check_geometry(scene: Scene) -> None:
    """Raise BadData for what no camera can have measured: wrong units, matrices that are no rotations."""
    if scene.extrinsics is not None:
        rotation = scene.extrinsics[..., :3].double()
        off = (rotation @ rotation.mT - torch.eye(3, dtype=torch.float64)).abs().amax()
        if off > 1e-2 or bool((torch.linalg.det(rotation) < 0).any()):
            raise BadData(f"a pose is not a rotation and a translation (off by {off:.2g})")
        if float(scene.extrinsics[..., 3].abs().max()) > FARTHEST:
            raise BadData(f"a camera is more than {FARTHEST:.0e} m away: wrong units or a failed reconstruction")
    if scene.intrinsics is not None and bool((scene.intrinsics[:, [0, 1], [0, 1]] <= 0).any()):
        raise BadData("a focal length is not positive")
    if scene.depth is not None and scene.mask is not None:
        if not scene.mask.any():
            raise BadData("no pixel has a valid depth")
        median = float(scene.depth[scene.mask].median())
        if not PLAUSIBLE[0] <= median <= PLAUSIBLE[1]:
            raise BadData(f"the median depth is {median:.3g} m, not between {PLAUSIBLE[0]} and {PLAUSIBLE[1]:.0f}: wrong units?")  # fmt: skip
