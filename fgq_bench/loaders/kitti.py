"""``kitti-mono``, ``kitti-video``: drives with LiDAR depth (Uhrig et al., 3DV 2017), gathered as MonST3R's script does."""

from __future__ import annotations

import numpy as np
import pydantic

from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.reading import folders, inside, read_integers

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


class Kitti(FileDataset):
    """A drive is a sequence; frames are called by their numbers, ``0000000005``. No poses, no intrinsics."""

    class Options(Dataset.Options):
        """How much of a drive."""

        first: pydantic.PositiveInt | None = None  # frames; None: all

    options: Options

    def index(self) -> FrameList:
        """See ``FileDataset``; a frame is what has a depth map, as LiDAR has none at the ends of a drive."""
        if not ((self.root / IMAGES).is_dir() and (self.root / DEPTHS).is_dir()):
            raise UserError(f"{self.root}: expected the folders {IMAGES} and {DEPTHS}, each with {DRIVES[0]}/0000000005.png")  # fmt: skip
        names = {drive.name: sorted(path.stem for path in drive.glob("*.png")) for drive in folders(self.root / DEPTHS)}
        return {drive: frames[: self.options.first] for drive, frames in names.items() if frames}

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        depth = read_integers(inside(self.root, DEPTHS, sequence, f"{frame}.png")) / 256  # 0: nothing measured
        return Frame(inside(self.root, IMAGES, sequence, f"{frame}.png"), depth=depth.astype(np.float32))

    def global_name(self, sequence: str) -> str:
        """See ``Dataset``; a single frame is part of its drive."""
        return super().global_name(sequence.split("/")[0])

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: drives of the validation split, pictures."""
        missing = [f"drive {drive}: no depth maps in {DEPTHS}" for drive in DRIVES if drive not in self.indexed]
        for drive, frames in self.indexed.items():
            if lacking := sum(not (self.root / IMAGES / drive / f"{frame}.png").is_file() for frame in frames):
                missing.append(f"drive {drive}: {lacking} of {len(frames)} pictures are not in {IMAGES}")
        return missing
