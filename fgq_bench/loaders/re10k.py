"""``re10k``: RealEstate10K, video clips of houses with poses from SLAM, official or prepared as for Pi3.

- official: ``test/<clip>.txt`` with pictures in ``test/<clip>/<timestamp>.jpg`` or ``<clip>/`` (or .png); also
  ``cameras/<clip>.txt`` with ``frames/<clip>/``.
- prepared: ``<clip>/annotations.json``, a list of {idx, filepath, intrinsics 3 x 3 in pixels, extrinsics 4 x 4 w2c},
  with pictures ``<clip>/images/0000.png``. Where there is one, official files are not looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fgq_bench.errors import BadData
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.headers import check_centre, picture_size
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import Floats, inside, parse_numbers, read_json, read_text

CAMERAS = ("test", "cameras")  # folders of camera files
SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURES = ("test/{}", "{}", "frames/{}")  # folders of a clip's pictures
CLIPS = 1719  # of the public evaluation list: those of 1 800 whose videos still exist
SQUASHED = 0.01  # relative difference of shapes above which a picture was squashed


@dataclass
class Clip:
    """A clip of N frames."""

    pictures: list[str]  # relative to the data set's folder; official: .jpg may be .jpeg or .png
    intrinsics: Floats  # [N, 3, 3]
    extrinsics: Floats  # [N, 3, 4] w2c
    normalised: bool  # whether intrinsics are in widths and heights of the picture, not in pixels


class RealEstate10K(FileDataset):
    """Sequences are clips, frames the rows of their camera file, ``0000`` and up, in both forms.

    A row without a picture stays in the list: random frames of all later clips hang on the number of rows, so the list
    must not depend on what a copy lacks (the public list counts rows too). Clips without a folder are left out: their
    videos are gone.
    """

    _held: tuple[str, Clip] | None = None  # the clip read last

    layout = "test/<clip>.txt with test/<clip>/<timestamp>.jpg, or <clip>/annotations.json with <clip>/images/0000.png"

    def parts(self) -> list[str]:
        """See ``FileDataset``: clips."""
        return list(self._camera_files)

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``. 1 719 clips of 151 rows take 1 s prepared, 0.2 s official."""
        return {part: [f"{row:04d}" for row in range(_rows(self._camera_files[part]))]}

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        clip = self._clip(sequence)
        if not re.fullmatch("[0-9]{4,9}", frame) or (row := int(frame)) >= len(clip.pictures):
            raise BadData(f"{self._camera_files[sequence]}: no frame {frame}")
        image = inside(self.root, clip.pictures[row])
        image = find_file(image, *(SUFFIXES if clip.normalised else ()))
        size = picture_size(image)
        intrinsics = clip.intrinsics[row]
        if clip.normalised:
            intrinsics = np.array([[size[0]], [size[1]], [1]]) * intrinsics
        if not (intrinsics[[0, 1], [0, 1]] > 0).all():
            raise BadData(f"{self._camera_files[sequence]}: frame {frame}: a focal length is not a positive number")
        check_centre(intrinsics, image, size)
        stretch = intrinsics[1, 1] / intrinsics[0, 0]  # 1 where pixels are square, as those of the video are
        aspect = size[0] / size[1] * stretch if abs(stretch - 1) > SQUASHED else None
        return Frame(image, clip.extrinsics[row], intrinsics, aspect=aspect)

    def incomplete(self) -> list[str]:
        """See ``FileDataset``."""
        lines = [] if len(self.indexed) >= CLIPS else [f"{len(self.indexed)} clips, the public test list has {CLIPS}"]
        for clip, rows in self.indexed.items():
            prepared = self._camera_files[clip].suffix == ".json"
            folder = self.root / clip / "images" if prepared else self._pictures(clip)
            have = len(self.listing.files(folder, *SUFFIXES)) if folder else 0
            if have < len(rows):
                lines.append(f"clip {clip}: {have} of {len(rows)} pictures")
        return lines

    @cached_property
    def _camera_files(self) -> dict[str, Path]:
        """The camera file of every clip that has one and a folder, in the order of their names."""
        prepared = {folder.name: folder / "annotations.json" for folder in self.listing.folders(self.root)}
        if found := {clip: path for clip, path in prepared.items() if path.is_file()}:
            return found
        paths = sorted(path for folder in CAMERAS for path in self.listing.files(self.root / folder, ".txt"))
        return {path.stem: path for path in paths if self._pictures(path.stem)}

    def _pictures(self, clip: str) -> Path | None:
        """The folder of an official clip's pictures; None where there is none."""
        return next((folder for form in PICTURES if (folder := self.root / form.format(clip)).is_dir()), None)

    def _clip(self, name: str) -> Clip:
        if self._held is None or self._held[0] != name:
            if (path := self._camera_files.get(name)) is None:
                raise BadData(f"no camera file or no folder of pictures in {self.root}")
            self._held = name, _prepared(path) if path.suffix == ".json" else self._official(path)
        return self._held[1]

    def _official(self, path: Path) -> Clip:
        """``timestamp fx fy cx cy 0 0`` and w2c 3 x 4, row by row."""
        rows = _official_rows(path)
        stamps = [row.split()[0] for row in rows]
        values = parse_numbers(" ".join(rows), path, len(stamps), 19)
        intrinsics = np.zeros((len(values), 3, 3))
        intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]] = values[:, 1:5]
        intrinsics[:, 2, 2] = 1
        folder = self._pictures(path.stem)
        assert folder is not None
        names = [f"{folder.relative_to(self.root).as_posix()}/{stamp}.jpg" for stamp in stamps]
        return Clip(names, intrinsics, values[:, 7:].reshape(-1, 3, 4), normalised=True)


def _official_rows(path: Path) -> list[str]:
    """The cameras of an official file, whose first line is the video's address: where copies have dropped it, a camera."""
    rows = [line for line in read_text(path).splitlines() if line.strip()]
    return rows if rows and rows[0].split()[0].isdecimal() else rows[1:]


def _rows(path: Path) -> int:
    """Number of frames in a camera file."""
    if path.suffix != ".json":
        return len(_official_rows(path))
    content = read_json(path)
    if not isinstance(content, list):
        raise BadData(f"{path}: a list of frames is expected")
    return len(content)


def _prepared(path: Path) -> Clip:
    """See the head of this file."""
    frames = read_json(path)
    shape, key = "texts", "filepath"
    try:
        names = [frame[key] for frame in frames]
        if not all(isinstance(name, str) for name in names):
            raise TypeError
        shape, key = "3 x 3 numbers", "intrinsics"
        intrinsics = np.array([frame[key] for frame in frames], dtype=np.float64).reshape(len(names), 3, 3)
        shape, key = "4 x 4 numbers", "extrinsics"
        extrinsics = np.array([frame[key] for frame in frames], dtype=np.float64).reshape(len(names), 4, 4)[:, :3]
    except (KeyError, TypeError, ValueError, OverflowError):  # the last: a number of 400 digits
        raise BadData(f"{path}: key {key!r}: {shape} are expected for every frame") from None
    return Clip(names, intrinsics, extrinsics, normalised=False)
