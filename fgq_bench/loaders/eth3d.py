"""``eth3d``: large scenes with laser-scanned depth (Schöps et al., CVPR 2017), high resolution, undistorted.

Two forms of a scene: with ``custom_undistorted_cam/*.npz``, as the script of Pi3 undistorts pictures and depth, or with
the official ``dslr_calibration_undistorted``. COLMAP's name of a picture, ``dslr_images_undistorted/DSC_0259.JPG``, is
looked up below ``images`` and below ``ground_truth_depth``; what is not there is looked for in ``custom_undistorted``.
Official depth, ``ground_truth_depth/dslr_images``, is that of the distorted pictures and is never read.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgq_bench.bounded import read_bytes
from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.arrays import read_npz
from fgq_bench.loaders.colmap import ColmapImage, read_reconstruction
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import check_centre, picture_size
from fgq_bench.loaders.reading import Floats, folders, inside, named

SCENES = (
    "courtyard", "delivery_area", "electro", "facade", "kicker", "meadow", "office", "pipes", "playground", "relief",
    "relief_2", "terrace", "terrains",
)  # fmt: skip
CUSTOM, CAMERAS, OFFICIAL = "custom_undistorted", "custom_undistorted_cam", "dslr_calibration_undistorted"


class ETH3D(FileDataset):
    """A scene is a sequence; frames are called by their pictures, ``DSC_0259``, in the order of these names."""

    def index(self) -> FrameList:
        """See ``FileDataset``; a frame is what has a camera."""
        arrays = {scene.name: sorted(path.stem for path in (scene / CAMERAS).glob("*.npz")) for scene in self._scenes}
        found = {scene: names for scene, names in arrays.items() if names}
        found |= {scene.name: sorted(frames) for scene in self._scenes if (frames := self._official(scene.name))}
        if not found:
            raise UserError(f"{self.root}: expected <scene>/{CAMERAS}/*.npz or <scene>/{OFFICIAL}/images.txt, with courtyard among the scenes")  # fmt: skip
        return found

    @cached_property
    def _scenes(self) -> list[Path]:
        return folders(self.root)

    @cached_property
    def _reconstructions(self) -> dict[str, dict[str, ColmapImage]]:
        return {}

    def _official(self, scene: str) -> dict[str, ColmapImage]:
        """Pictures of a scene by frame, read once; none where it comes with .npz cameras."""
        place = inside(self.root, scene)
        if not (place / OFFICIAL).is_dir() or any((place / CAMERAS).glob("*.npz")):
            return {}
        if scene not in self._reconstructions:
            self._reconstructions[scene] = {Path(i.name).stem: i for i in read_reconstruction(place / OFFICIAL)}
        return self._reconstructions[scene]

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        camera = self._official(sequence).get(frame)
        if camera is not None:
            extrinsics, intrinsics = camera.extrinsics, camera.intrinsics
        else:
            extrinsics, intrinsics = _read_camera(inside(self.root, sequence, CAMERAS, f"{frame}.npz"))
        image = self._place(sequence, "images", frame)
        size = picture_size(image)
        if camera is not None and size != camera.size:
            raise BadData(f"{image}: {size[0]} x {size[1]}, but its camera in {OFFICIAL} is {camera.size[0]:.0f} x {camera.size[1]:.0f}")  # fmt: skip
        check_centre(intrinsics, image, size)
        depth = _read_depth(self._place(sequence, "ground_truth_depth", frame), *size)
        return Frame(image, extrinsics=extrinsics, intrinsics=intrinsics, depth=depth)

    def incomplete(self) -> list[str]:
        """See ``FileDataset``: scenes, depth of undistorted pictures."""
        missing = [f"scene {scene}: no cameras" for scene in SCENES if scene not in self.indexed]
        for scene, frames in self.indexed.items():
            lacking = [frame for frame in frames if not self._place(scene, "ground_truth_depth", frame).is_file()]
            if lacking:
                missing.append(f"{scene}: {len(lacking)} of {len(frames)} frames have no depth map")
        return missing

    def _place(self, sequence: str, kind: str, frame: str) -> Path:
        """Where a frame's picture or depth map (``kind``) is, or ought to be; raises BadData outside of the scene."""
        found = self._official(sequence).get(frame)
        name = f"{CUSTOM}/{frame}.JPG" if found is None else found.name
        named = inside(self.root, sequence, kind, name)
        custom = inside(self.root, sequence, kind, CUSTOM, Path(name).name)
        return custom if custom.is_file() and not named.is_file() else named


def _read_camera(path: Path) -> tuple[Floats, Floats]:
    """Extrinsics [3, 4] (w2c) and intrinsics [3, 3] of an .npz without objects."""
    with named(path, "no camera with extrinsics and intrinsics"):
        arrays = read_npz(path)
        if missing := [key for key in ("extrinsics", "intrinsics") if key not in arrays]:
            raise ValueError(f"no {missing[0]}")
        extrinsics, intrinsics = arrays["extrinsics"], arrays["intrinsics"]
        if {extrinsics.dtype.kind, intrinsics.dtype.kind} - set("iuf"):
            raise ValueError(f"numbers are expected, not {extrinsics.dtype} and {intrinsics.dtype}")
    if extrinsics.shape not in ((3, 4), (4, 4)) or intrinsics.shape != (3, 3):
        raise BadData(f"{path}: extrinsics {list(extrinsics.shape)}, intrinsics {list(intrinsics.shape)}; expected [4, 4] and [3, 3]")  # fmt: skip
    return extrinsics[:3].astype(np.float64), intrinsics.astype(np.float64)


def _read_depth(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """Headerless float32, row by row, as many as the picture has pixels, whatever the file's name ends in."""
    size = 4 * width * height
    if path.is_file() and path.stat().st_size != size:
        raise BadData(f"{path}: {path.stat().st_size} bytes; {width} x {height} values of float32, as the picture has pixels, are {size}")  # fmt: skip
    with named(path, "no depth map"):
        return np.frombuffer(read_bytes(path, size), "<f4").astype(np.float32).reshape(height, width)
