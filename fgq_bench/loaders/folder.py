"""``folder``: anybody's pictures, without ground truth."""

from __future__ import annotations

import hashlib
import io
import os
from functools import cached_property
from itertools import islice
from pathlib import Path

from PIL import Image

from fgq_bench.bounded import read_bytes
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.listing import DANGLING, OTHER
from fgq_bench.loaders.orientation import turn_of
from fgq_bench.loaders.reading import DAMAGED, FORMATS, LARGEST, inside

PICTURES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
PHOTOGRAPHS = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".tif", ".tiff", ".bmp", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf",
    ".orf", ".rw2",
)  # fmt: skip
FORMAT = "pictures of a format that is not read (convert them to JPEG, PNG or WebP)"
DEEP = "folders with pictures that are neither ROOT/SEQUENCE nor ROOT/SEQUENCE/images (give one as the root)"
SPECIAL = "pipes or devices, which are not read"
IMAGES = "images"  # in a scene's folder: the layout of VGGT's examples, COLMAP and others
WALKED = 100  # folders that are looked into for pictures, below one that is not read


class Folder(FileDataset):
    """Every folder ``ROOT/a`` or ``ROOT/a/images`` with pictures is a sequence of that name; the root is called ``.``."""

    layout = "pictures (.jpg, .png, .webp), or folders of them"

    def parts(self) -> list[str]:
        """See ``FileDataset``: the root, its folders, and those called ``images`` within."""
        places = self.listing.folders(self.root)
        return [".", *(name for place in places for name in (place.name, *self._within(place)))]

    def _within(self, scene: Path) -> list[str]:
        inner = self.listing.folders(scene)
        for place in inner:
            if place.name.lower() != IMAGES and scene.name.lower() != IMAGES and _has_pictures(place):
                self.listing.leave_out(DEEP, place)
        return [f"{scene.name}/{place.name}" for place in inner if place.name.lower() == IMAGES]

    def index(self, part: str) -> FrameList:
        """See ``FileDataset``; frames are the pictures in the order of their names."""
        place = inside(self.root, part)
        pictures = self.listing.files(place, *PICTURES)
        for path in self.listing.files(place):
            if not path.exists():
                self.listing.leave_out(DANGLING, path)
            elif not path.is_file():
                self.listing.leave_out(SPECIAL, path)
            elif path.suffix.lower() not in PICTURES:
                self.listing.leave_out(FORMAT if path.suffix.lower() in PHOTOGRAPHS else OTHER, path)
        return {part: [path.name for path in pictures if path.is_file()]}

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        return Frame(inside(self.root, sequence, frame))

    def category(self, sequence: str) -> str:
        """See ``FileDataset``; all are of one."""
        return self.card.name

    def hint(self) -> str | None:
        """See ``FileDataset``: what is here and not read."""
        return "; ".join(self.listing.lost()) or "none is here"

    def source(self) -> dict[str, object]:
        """See ``Dataset``; names say nothing here, so the pictures themselves decide."""
        return {**super().source(), "pictures": self._digest}

    @cached_property
    def _digest(self) -> str:
        """SHA-256 over every picture that is scored, and how it is turned."""
        digest = hashlib.sha256()
        for sequence, names in self.frames.items():
            for name in names:
                content = read_bytes(inside(self.root, self.place(sequence), name), LARGEST)
                digest.update(
                    f"{sequence}/{name} {hashlib.sha256(content).hexdigest()}{_turned(content)}\
".encode()
                )
        return digest.hexdigest()

    def global_name(self, sequence: str) -> str:
        """See ``Dataset``; two folders of one name are not the same pictures."""
        return str((self.root / sequence).resolve())


def _turned(content: bytes) -> str:
    """How a picture is turned, in words; none where it is not: results from before it was turned at all keep their key."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            turn = turn_of(image)
    except DAMAGED:  # which reading it says
        return ""
    return "" if turn is None else f" {turn.name}"


def _has_pictures(place: Path) -> bool:
    return any(
        name.lower().endswith((*PICTURES, *PHOTOGRAPHS))
        for _, _, names in islice(os.walk(place), WALKED)
        for name in names
    )
