"""``folder``: anybody's pictures, without ground truth."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.frames import FrameList
from fgq_bench.loaders.reading import folders, inside

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


class Folder(FileDataset):
    """Every folder below the root that holds pictures is a sequence; the root itself is called ``.``."""

    def index(self) -> FrameList:
        """See ``FileDataset``; frames are the pictures in the order of their names."""
        places = {".": self.root, **{place.name: place for place in folders(self.root)}}
        return {name: found for name, place in places.items() if (found := _pictures(place))}

    def read_frame(self, sequence: str, frame: str) -> Frame:
        """See ``FileDataset``."""
        return Frame(inside(self.root, sequence, frame))

    def global_name(self, sequence: str) -> str:
        """See ``Dataset``; two folders of one name are not the same pictures."""
        return str((self.root / sequence).resolve())


def _pictures(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
