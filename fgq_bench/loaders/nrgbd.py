"""``nrgbd``: nine rendered rooms with exact depth and poses (Neural RGB-D, Azinović et al., CVPR 2022)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pydantic

from fgq_bench.errors import BadData
from fgq_bench.loaders.completeness import missing_frames
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import Floats, inside, invert_pose, parse_numbers, read_integers, read_text

SCENES = (
    "breakfast_room", "complete_kitchen", "green_room", "grey_white_room", "kitchen", "morning_apartment", "staircase",
    "thin_geometry", "whiteroom",
)  # fmt: skip
SIZE = (640, 480)  # width, height
FOCAL = 554.2562584220408  # pixels
INTRINSICS = np.array([[FOCAL, 0, 320], [0, FOCAL, 240], [0, 0, 1]])
OPENGL = np.array([1.0, -1.0, -1.0, 1.0])  # columns of a camera-to-world matrix: y up and z backward, to OpenCV


class NeuralRGBD(FileDataset):
    """A scene is a sequence; frame ``7`` is images/img7.png and the 8th pose of poses.txt, not read where that is nan."""

    layout = (
        "<scene>/poses.txt, <scene>/images/img0.png, <scene>/depth/depth0.png, with breakfast_room among the scenes"
    )

    class Options(FileDataset.Options):
        """How far depth is valid."""

        farthest: float = pydantic.Field(10.0, gt=0)  # metres, as in the evaluations of Spann3R, CUT3R and QuantVGGT

    options: Options

    def parts(self) -> list[str]:
        """See ``FileDataset``: scenes with poses."""
        return [scene for scene in super().parts() if (self.root / scene / "poses.txt").is_file()]

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``; every line of four has a frame, also where it is nan: the stride counts those, too."""
        return {part: list(self._poses(part))}

    def has_pose(self, sequence: str, frame: str) -> bool:
        """See ``FileDataset``. (The evaluations that are compared with take the identity for nan.)"""
        return bool(np.isfinite(self._poses(sequence)[frame]).all())

    @cached_property
    def _held(self) -> dict[str, dict[str, Floats]]:
        return {}

    def _poses(self, scene: str) -> dict[str, Floats]:
        """Camera-to-world matrices [4, 4], OpenCV axes, by frame, in numeric order; raises BadData."""
        if scene not in self._held:
            path = inside(self.root, scene, "poses.txt")
            poses, pictures = parse_numbers(read_text(path), path, -1, 4, 4) * OPENGL, len(self._pictures(scene))
            if pictures > len(poses):
                raise BadData(f"{path}: {len(poses)} poses for {pictures} pictures")
            self._held[scene] = {str(number): pose for number, pose in enumerate(poses)}
        return self._held[scene]

    def _pictures(self, scene: str) -> list[str]:
        """Numbers of the pictures that are here."""
        names = [path.stem for path in self.listing.files(inside(self.root, scene, "images"), ".png")]
        return [name.removeprefix("img") for name in names if name.startswith("img")]

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        c2w = self._poses(sequence).get(frame)
        if c2w is None or not self.has_pose(sequence, frame):
            raise BadData(f"{self.root / sequence / 'poses.txt'}: no pose of frame {frame}")
        image = find_file(inside(self.root, sequence, "images", f"img{frame}.png"))
        if picture_size(image) != SIZE:
            raise BadData(f"{image}: {SIZE[0]} x {SIZE[1]} pixels are expected, as its camera has them")
        metres = read_integers(find_file(inside(self.root, sequence, "depth", f"depth{frame}.png"))) / 1000
        depth = np.where(metres <= self.options.farthest, metres, 0).astype(np.float32)
        return Frame(image, extrinsics=invert_pose(c2w), intrinsics=INTRINSICS, depth=depth)

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: scenes, and pictures, of which a scene has as many as poses."""
        missing = [
            f"scene {scene}: no poses.txt" for scene in SCENES if not (self.root / scene / "poses.txt").is_file()
        ]
        for scene, frames in self.counted.items():
            if line := missing_frames(self._pictures(scene), 0, len(frames)):
                missing.append(f"scene {scene}: {line}")
        return missing
