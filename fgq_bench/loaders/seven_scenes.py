"""``7scenes``: Kinect videos of seven rooms (Shotton et al., CVPR 2013), whose depth camera is not the colour camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.completeness import missing_frames
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import inside, invert_pose, read_integers, read_numbers, read_text

SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
MOST, FRAMES = 1000, {"stairs": 500}  # frames of a sequence, and of those of some scenes
SPLIT = "TestSplit.txt"
COLOUR = ("color.png", "color.jpg")
SIZE = (640, 480)  # width, height
INTRINSICS = np.array([[525.0, 0, 320], [0, 525, 240], [0, 0, 1]])  # of the colour camera; depth camera: 585
NEAREST, FARTHEST = 1, 10_000  # mm; outside, and at the official 65535, depth is invalid
SUFFIX = {"raw": "depth.png", "projected": "depth.proj.png"}
REGISTER = (
    "make it with data_scripts/7scenes_preprocessing.py of nianticlabs/simplerecon (the transform of ace and "
    "visloc_pseudo_gt_limitations), or choose --protocol quantvggt, which reads raw depth"
)


class SevenScenes(FileDataset):
    """The test sequences, such as ``chess/seq-03``; frames are called by their numbers, ``000000``.

    Raw depth is that of a camera with focal length 585, beside the colour camera. Protocols that read it take the
    colour camera's 525 all the same, and so does this loader: that is what their published numbers mean.
    """

    class Options(Dataset.Options):
        """Which depth: as measured, or registered to the colour camera."""

        depth: Literal["raw", "projected"] = "projected"

    options: Options

    layout = f"<scene>/{SPLIT} and <scene>/seq-01/frame-000000.color.png, with chess among the scenes"

    def parts(self) -> list[str]:
        """See ``FileDataset``: scenes with a test split."""
        return [scene for scene in super().parts() if (self.root / scene / SPLIT).is_file()]

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``: the sequences of TestSplit.txt."""
        return {f"{part}/{name}": self._frames(f"{part}/{name}") for name in _test_sequences(self.root / part / SPLIT)}

    def _frames(self, sequence: str) -> list[str]:
        names = (path.name.lower() for path in self.listing.files(self.root / sequence, *(f".{end}" for end in COLOUR)))
        matches = (re.fullmatch(r"frame-([0-9]{6})\.color\.(?:png|jpg)", name) for name in names)
        return sorted({match[1] for match in matches if match})

    def hint(self) -> str | None:
        """See ``FileDataset``: sequences that are still packed."""
        lines = [line for line in self.incomplete() if "unpack" in line] if self.parts() else []
        return lines[0] if lines else None

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        image, depth, pose = (
            inside(self.root, sequence, f"frame-{frame}.{suffix}")
            for suffix in (COLOUR[0], SUFFIX[self.options.depth], "pose.txt")
        )
        if self.options.depth == "projected" and not depth.is_file():
            raise BadData(f"{depth}: no such file; {REGISTER}")
        image = find_file(image, ".jpg")
        if picture_size(image) != SIZE:
            raise BadData(f"{image}: {SIZE[0]} x {SIZE[1]} pixels are expected, as its camera has them")
        millimetres = read_integers(depth)
        valid = (millimetres >= NEAREST) & (millimetres <= FARTHEST)
        return Frame(
            image,
            extrinsics=invert_pose(read_numbers(pose, 4, 4)),
            intrinsics=INTRINSICS,
            depth=np.where(valid, millimetres / 1000, 0).astype(np.float32),
        )

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: scenes, sequences, registered depth."""
        packed = {path.stem for path in self.listing.files(self.root, ".zip")}
        missing = [
            f"scene {scene}: no {SPLIT}" + (f" (unpack {scene}.zip)" if scene in packed else "")
            for scene in SCENES
            if not (self.root / scene / SPLIT).is_file()
        ]
        for scene in self.parts():
            with suppress(UserError):  # of a split that is broken: the index says so
                missing += [line for name, frames in self.index(scene).items() for line in self._lacking(name, frames)]
        return missing

    def _lacking(self, sequence: str, names: list[str]) -> Iterator[str]:
        """What a sequence does not have."""
        if not names:
            yield f"{sequence}: no frames (unpack {sequence}.zip)"
            return
        if line := missing_frames(names, 0, FRAMES.get(sequence.partition("/")[0], MOST)):
            yield f"{sequence}: {line}"
        depth = self.root / sequence / f"frame-{names[0]}.{SUFFIX[self.options.depth]}"
        if self.options.depth == "projected" and not depth.is_file():
            yield f"{sequence}: no .{SUFFIX['projected']}; {REGISTER}"


def _test_sequences(path: Path) -> list[str]:
    """Folders such as ``seq-03`` that a split's lines, such as ``sequence3``, mean."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if match := re.fullmatch(r"sequence ?([0-9]{1,3})", line.strip()):
            found.append(f"seq-{int(match[1]):02d}")
        elif line.strip():
            raise UserError(f"{path}:{number}: 'sequence3' or the like is expected, not {line.strip()[:40]!r}")
    return sorted(found)
