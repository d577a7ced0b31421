"""``scannet``: hand-held RGB-D videos of rooms, to calibrate on; pictures, poses and intrinsics, no depth."""

from __future__ import annotations

import re
from pathlib import Path

import pydantic

from fgq_bench.bounded import read_bytes
from fgq_bench.errors import UserError
from fgq_bench.loaders.completeness import missing_frames, usual_step
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import check_centre, picture_size
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import TEXT, inside, invert_pose, read_numbers

LOST = (b"inf", b"nan")  # in the pose of a frame that was not tracked
FOREIGN = (".color.jpg", ".sens")  # what the C++ reader exports, and what is not exported yet
PYTHON = (
    "export every scan with SensReader/python/reader.py, which writes SCAN/color/0.jpg (the C++ reader has other names)"
)


class ScanNet(FileDataset):
    """Sequences are scenes, frames the numbers of pictures: those that are tracked and multiples of ``every``."""

    class Options(FileDataset.Options):
        """Which frames there are."""

        every: int = pydantic.Field(20, ge=1)

    options: Options

    layout = "<scene>/color/0.jpg, <scene>/pose/0.txt and <scene>/intrinsic/intrinsic_color.txt, such as scene0000_00"

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``. Opens every pose that is listed, so that no clip has a frame without one.

        The release has 2.5 million frames; every 20th of them, 125 000 poses, take 3 s (24 us each, local disk).
        """
        scene = self.root / part
        numbers = [number for number in self._numbers(scene) if number % self.options.every == 0]
        if not numbers and (names := self.listing.files(scene, *FOREIGN)):
            raise UserError(f"{names[0]}: {PYTHON}")
        return {part: [str(number) for number in numbers if _tracked(scene / "pose" / f"{number}.txt")]}

    def hint(self) -> str | None:
        """See ``FileDataset``: exports of the C++ reader, scans that are not exported."""
        names = self.listing.files(self.root, *FOREIGN)
        return f"{names[0].name}: {PYTHON}" if names else None

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        scene = inside(self.root, sequence)
        image = find_file(inside(scene, "color", f"{frame}.jpg"))
        intrinsics = read_numbers(inside(scene, "intrinsic", "intrinsic_color.txt"), 4, 4)[:3, :3].copy()
        check_centre(intrinsics, image, picture_size(image))
        return Frame(image, invert_pose(read_numbers(inside(scene, "pose", f"{frame}.txt"), 4, 4)), intrinsics)

    def _numbers(self, scene: Path) -> list[int]:
        """Numbers of all of a scene's pictures, in order."""
        names = [path.stem for path in self.listing.files(scene / "color", ".jpg")]
        if odd := [name for name in names if not re.fullmatch("0|[1-9][0-9]{0,8}", name)]:
            raise UserError(f"{scene / 'color' / odd[0]}.jpg: pictures are called by their number, as SensReader exports them")  # fmt: skip
        return sorted(map(int, names))

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: gaps in the numbers of pictures, which may have been exported sparsely."""
        missing = []
        for scene in self.indexed:
            numbers = self._numbers(self.root / scene)
            if line := missing_frames(map(str, numbers), 0, step=usual_step(numbers)):
                missing.append(f"scene {scene}: {line}")
        return missing


def _tracked(path: Path) -> bool:
    """False for a pose of infinities; what cannot be read is the reader's to report, the list must not depend on it."""
    try:
        return not any(word in read_bytes(path, TEXT).lower() for word in LOST)
    except (OSError, ValueError):
        return True
