"""``nrgbd``: nine rendered rooms with exact depth and poses (Neural RGB-D, Azinović et al., CVPR 2022)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.reading import Floats, folders, inside, invert_pose, parse_numbers, read_integers, read_text

SCENES = (
    "breakfast_room", "complete_kitchen", "green_room", "grey_white_room", "kitchen", "morning_apartment", "staircase",
    "thin_geometry", "whiteroom",
)  # fmt: skip
SIZE = (640, 480)  # width, height
FOCAL = 554.2562584220408  # pixels
INTRINSICS = np.array([[FOCAL, 0, 320], [0, FOCAL, 240], [0, 0, 1]])
OPENGL = np.array([1.0, -1.0, -1.0, 1.0])  # columns of a camera-to-world matrix: y up and z backward, to OpenCV


class NeuralRGBD(FileDataset):
    """A scene is a sequence; frame ``7`` is images/img7.png and the 8th pose of poses.txt, left out where that is nan."""

    def index(self) -> FrameList:
        """See ``FileDataset``."""
        scenes = self._scenes()
        if not scenes:
            raise UserError(f"{self.root}: expected <scene>/poses.txt, <scene>/images/img0.png, <scene>/depth/depth0.png, with breakfast_room among the scenes")  # fmt: skip
        return {scene: list(poses) for scene in scenes if (poses := self._poses(scene))}

    def _scenes(self) -> list[str]:
        return [place.name for place in folders(self.root) if (place / "poses.txt").is_file()]

    @cached_property
    def _read(self) -> dict[str, dict[str, Floats]]:
        return {}

    def _poses(self, scene: str) -> dict[str, Floats]:
        """Camera-to-world matrices [4, 4] of a scene, OpenCV axes, by frame, in numeric order; read once."""
        if scene not in self._read:
            self._read[scene] = _read_poses(inside(self.root, scene))
        return self._read[scene]

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        c2w = self._poses(sequence).get(frame)
        if c2w is None:
            raise BadData(f"{self.root / sequence / 'poses.txt'}: no pose of frame {frame}")
        image = inside(self.root, sequence, "images", f"img{frame}.png")
        if picture_size(image) != SIZE:
            raise BadData(f"{image}: {SIZE[0]} x {SIZE[1]} pixels are expected, as its camera has them")
        return Frame(
            image,
            extrinsics=invert_pose(c2w),
            intrinsics=INTRINSICS,
            depth=(read_integers(inside(self.root, sequence, "depth", f"depth{frame}.png")) / 1000).astype(np.float32),
        )

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: scenes."""
        return [f"scene {scene}: no poses.txt" for scene in SCENES if scene not in self._scenes()]


def _read_poses(place: Path) -> dict[str, Floats]:
    path = place / "poses.txt"
    poses = parse_numbers(read_text(path), path, -1, 4, 4) * OPENGL
    pictures = sum(1 for _ in (place / "images").glob("img*.png"))
    if pictures > len(poses):
        raise BadData(f"{path}: {len(poses)} poses for {pictures} pictures")
    return {str(number): pose for number, pose in enumerate(poses) if np.isfinite(pose).all()}
