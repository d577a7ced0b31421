"""``kitti-mono``, ``kitti-video``: drives with LiDAR depth (Uhrig et al., 3DV 2017), gathered as MonST3R's script does."""

from __future__ import annotations

import numpy as np
import pydantic

from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.completeness import missing_frames
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import inside, read_integers

IMAGES, DEPTHS = "image_gathered", "groundtruth_depth_gathered"
DRIVES = [
    f"{drive}_sync_02"
    for drive in (
        "2011_09_26_drive_0002", "2011_09_26_drive_0005", "2011_09_26_drive_0013", "2011_09_26_drive_0020",
        "2011_09_26_drive_0023", "2011_09_26_drive_0036", "2011_09_26_drive_0079", "2011_09_26_drive_0095",
        "2011_09_26_drive_0113", "2011_09_28_drive_0037", "2011_09_29_drive_0026", "2011_09_30_drive_0016",
        "2011_10_03_drive_0047",
    )
]  # fmt: skip
FIRST = 5  # number of a drive's first frame with depth
SHORT = ("0002", "0020", "0079", "0113", "0037")  # drives of less than 110 frames with depth: how many is not published
SCORED = 110  # frames of every other drive, at most
LONG = [drive for drive in DRIVES if drive.split("_")[4] not in SHORT]


class Kitti(FileDataset):
    """A drive is a sequence; frames are called by their numbers, ``0000000005``. No poses, no intrinsics."""

    class Options(Dataset.Options):
        """How much of a drive."""

        first: pydantic.PositiveInt | None = None  # frames; None: all

    options: Options

    layout = f"the folders {IMAGES} and {DEPTHS}, each with {DRIVES[0]}/0000000005.png"

    def parts(self) -> list[str]:
        """See ``FileDataset``: drives with depth maps."""
        both = (self.root / IMAGES).is_dir() and (self.root / DEPTHS).is_dir()
        return [drive.name for drive in self.listing.folders(self.root / DEPTHS)] if both else []

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``; a frame is what has a depth map, as LiDAR has none at the ends of a drive."""
        return {
            part: [path.stem for path in self.listing.files(self.root / DEPTHS / part, ".png")][: self.options.first]
        }

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        image, depth = (find_file(inside(self.root, place, sequence, f"{frame}.png")) for place in (IMAGES, DEPTHS))
        metres = read_integers(depth) / 256  # 0: nothing measured
        return Frame(image, depth=metres.astype(np.float32))

    def global_name(self, sequence: str) -> str:
        """See ``Dataset``; a single frame is part of its drive."""
        return super().global_name(sequence.split("/")[0])

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: drives of the validation split, pictures."""
        missing = [f"drive {drive}: no depth maps in {DEPTHS}" for drive in DRIVES if drive not in self.indexed]
        for drive, frames in self.indexed.items():
            wanted = SCORED if drive in LONG else None
            if line := missing_frames(frames, FIRST, wanted):
                missing.append(f"drive {drive}: {line} in {DEPTHS}")
            have = {path.stem for path in self.listing.files(self.root / IMAGES / drive, ".png")}
            if lacking := len({*frames} - have):
                missing.append(f"drive {drive}: {lacking} of {len(frames)} pictures are not in {IMAGES}")
        return missing
