"""``co3dv2``: Common Objects in 3D, version 2: videos around single objects, with poses from COLMAP."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.co3d_annotations import Track, Tracks, annotation_file, read_category
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.reading import Floats, inside, read_integers, read_picture

SEEN = (
    "apple", "backpack", "banana", "baseballbat", "baseballglove", "bench", "bicycle", "bottle", "bowl", "broccoli",
    "cake", "car", "carrot", "cellphone", "chair", "cup", "donut", "hairdryer", "handbag", "hydrant", "keyboard",
    "laptop", "microwave", "motorcycle", "mouse", "orange", "parkingmeter", "pizza", "plant", "stopsign", "teddybear",
    "toaster", "toilet", "toybus", "toyplane", "toytrain", "toytruck", "tv", "umbrella", "vase", "wineglass",
)  # fmt: skip
UNSEEN = ("ball", "book", "couch", "frisbee", "hotdog", "kite", "remote", "sandwich", "skateboard", "suitcase")
RIDICULOUS = 1e5  # T_x + T_y + T_z of a frame above which VGGT's evaluation leaves the sequence out
FLIP = np.array([-1.0, -1.0, 1.0])  # PyTorch3D has +X left and +Y up, OpenCV right and down


class Co3d(FileDataset):
    """Sequences are called ``<category>/<sequence>``, frames by their files, in the order of the set list."""

    class Options(FileDataset.Options):
        """Which sequences, and whether depth is read."""

        split: Literal["test", "train"] = "test"
        categories: Literal["all", "seen"] = "all"
        per_category: int | None = pydantic.Field(None, ge=1)  # the first by name that are long enough for the protocol
        depth: bool = False

    options: Options
    _held: tuple[str, Tracks] | None = None  # the category read last: sequences are read in order, and all need GBs

    @cached_property
    def _unreadable(self) -> dict[str, str]:
        return {}

    @cached_property
    def _read(self) -> dict[str, Track]:
        return {}

    layout = "apple/frame_annotations.jgz or annotations/apple_test.jgz, and so on for every category"

    def parts(self) -> list[str]:
        """See ``FileDataset``: categories, in the order in which frames are drawn."""
        return sorted(SEEN if self.options.categories == "seen" else SEEN + UNSEEN)

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``. No picture is opened; short of a pinned list, every annotation is read."""
        kept = [(name, track) for name, track in sorted(self._tracks(part).items()) if _plausible(track)]
        if self.options.per_category is not None:
            kept = [(name, track) for name, track in kept if len(track.paths) >= self.entry.minimum]
        return {f"{part}/{name}": track.names for name, track in kept[: self.options.per_category]}

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``. Intrinsics are those of the stored picture, which may be a smaller copy."""
        category = sequence.partition("/")[0]
        track = self._track(sequence)
        if track is None or frame not in track.names:
            raise BadData(f"frame {frame}: not in the annotations of category {category}")
        row = track.names.index(frame)
        image = inside(self.root, track.paths[row])
        width, height = picture_size(image)
        high, wide = track.size[row]
        if abs(width * high - height * wide) > 0.01 * width * high:  # never where the size is not annotated: NaN
            raise BadData(f"{image}: {width} x {height} pixels have another shape than the annotated {wide:.0f} x {high:.0f}")  # fmt: skip
        pose = np.column_stack([FLIP[:, None] * track.rotation[row].T, FLIP * track.translation[row]])
        intrinsics = _intrinsics(track.focal[row], track.centre[row], width, height)
        depth = self._depth(track.paths[row], track.scale[row]) if self.options.depth else None
        return Frame(image, pose, intrinsics, depth)

    def incomplete(self) -> list[str]:
        """See ``FileDataset``."""
        missing: dict[tuple[str, str], list[str]] = {}
        for sequence, names in self.frame_list().items():
            have = {path.name for path in self.listing.files(inside(self.root, sequence, "images"))}
            if not have.issuperset(names):
                what = "lack pictures that are scored" if have else "have no pictures"
                missing.setdefault((self.category(sequence), what), []).append(sequence)
        split = self.options.split
        blank = [name for name in self.parts() if annotation_file(self.root, name, split) is None]
        return [f"category {name}: no annotations" for name in blank] + [
            f"category {name}: {len(found)} sequences {what}, the first is {found[0]}"
            for (name, what), found in missing.items()
        ]

    def _track(self, sequence: str) -> Track | None:
        """A sequence's annotations; kept, because every method of a sweep reads it again."""
        if sequence not in self._read:
            category, _, name = sequence.partition("/")
            found = self._tracks(category).get(name) if category in SEEN + UNSEEN else None
            if found is None:
                return None
            self._read[sequence] = found
        return self._read[sequence]

    def _tracks(self, category: str) -> Tracks:
        if reason := self._unreadable.get(category):
            raise BadData(reason)
        if self._held is None or self._held[0] != category:
            try:
                self._held = category, read_category(self.root, category, self.options.split)
            except UserError as error:
                self._unreadable[category] = str(error)  # not to be read again for each of its sequences
                raise BadData(str(error)) from None
        return self._held[1]

    def _depth(self, picture: str, scale: float) -> NDArray[np.float32] | None:
        """Depth [h, w] of a frame, None where it has none: 16-bit PNG whose bits are float16; 0 outside of its mask."""
        path = inside(self.root, picture.replace("/images/", "/depths/") + ".geometric.png")
        if np.isnan(scale) or not path.is_file():
            return None
        with np.errstate(invalid="ignore"):  # bits may be any NaN
            depth = read_integers(path).astype(np.uint16).view(np.float16).astype(np.float32) * np.float32(scale)
        mask_path = inside(self.root, str(Path(picture.replace("/images/", "/depth_masks/")).with_suffix(".png")))
        if mask_path.is_file():
            mask = np.asarray(read_picture(mask_path).convert("L")) > 0
            if mask.shape != depth.shape:
                raise BadData(f"{mask_path}: {mask.shape} pixels, the depth map has {depth.shape}")
            depth[~mask] = 0
        return depth


def _plausible(track: Track) -> bool:
    return not (track.translation.sum(1) > RIDICULOUS).any()


def _intrinsics(focal: Floats, centre: Floats, width: int, height: int) -> Floats:
    """Pixels from PyTorch3D's isotropic NDC, where the shorter side reaches from -1 to 1."""
    half = min(width, height) / 2
    x, y = width / 2 - centre[0] * half, height / 2 - centre[1] * half
    return np.array([[focal[0] * half, 0, x], [0, focal[1] * half, y], [0, 0, 1]])
