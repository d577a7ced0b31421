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
from fgq_bench.errors import BadData
from fgq_bench.loaders.arrays import read_npz
from fgq_bench.loaders.colmap import ColmapImage, read_reconstruction
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import check_centre, picture_size
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import Floats, inside, named

SCENES = {  # with the number of pictures
    "courtyard": 38, "delivery_area": 44, "electro": 45, "facade": 76, "kicker": 31, "meadow": 15, "office": 26,
    "pipes": 14, "playground": 38, "relief": 31, "relief_2": 31, "terrace": 23, "terrains": 42,
}  # fmt: skip
CUSTOM, CAMERAS, OFFICIAL = "custom_undistorted", "custom_undistorted_cam", "dslr_calibration_undistorted"


class ETH3D(FileDataset):
    """A scene is a sequence; frames are called by their pictures, ``DSC_0259``, in the order of these names."""

    layout = f"<scene>/{CAMERAS}/*.npz or <scene>/{OFFICIAL}/images.txt, with courtyard among the scenes"

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``; a frame is what has a camera."""
        arrays = [path.stem for path in self.listing.files(self.root / part / CAMERAS, ".npz")]
        return {part: arrays or sorted(self._official(part))}

    @cached_property
    def _held(self) -> dict[str, dict[str, ColmapImage]]:
        return {}

    def _official(self, scene: str) -> dict[str, ColmapImage]:
        """Pictures by frame of a scene that comes without .npz cameras; raises BadData."""
        if scene not in self._held:
            place = inside(self.root, scene, OFFICIAL)
            arrays = self.listing.files(inside(self.root, scene, CAMERAS), ".npz")
            images = read_reconstruction(place) if place.is_dir() and not arrays else []
            self._held[scene] = {Path(image.name).stem: image for image in images}
        return self._held[scene]

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
            if len(frames) < SCENES.get(scene, 0):
                missing.append(f"{scene}: {len(frames)} of {SCENES[scene]} cameras")
            for kind, what in (("images", "picture"), ("ground_truth_depth", "depth map")):
                if lacking := sum(not self._place(scene, kind, frame).is_file() for frame in frames):
                    missing.append(f"{scene}: {lacking} of {len(frames)} frames have no {what}")
        return missing

    def _place(self, sequence: str, kind: str, frame: str) -> Path:
        """Where a frame's picture or depth map (``kind``) is, or ought to be; raises BadData outside of the scene."""
        found = self._official(sequence).get(frame)
        name = f"{CUSTOM}/{frame}.JPG" if found is None else found.name
        stated = find_file(inside(self.root, sequence, kind, name))
        custom = find_file(inside(self.root, sequence, kind, CUSTOM, Path(name).name))
        return custom if custom.is_file() and not stated.is_file() else stated


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
