"""``folder``: anybody's pictures, without ground truth."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from fgq_bench.bounded import open_regular
from fgq_bench.errors import UserError
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

    def source(self) -> dict[str, object]:
        """See ``Dataset``; names say nothing here, so the pictures themselves decide."""
        return {**super().source(), "pictures": self._digest}

    @cached_property
    def _digest(self) -> str:
        """SHA-256 over every picture that is scored."""
        digest = hashlib.sha256()
        for sequence, names in self.frames.items():
            for name in names:
                with open_regular(inside(self.root, self.place(sequence), name)) as picture:
                    content = hashlib.file_digest(picture, "sha256").hexdigest()
                digest.update(f"{sequence}/{name} {content}\n".encode())
        return digest.hexdigest()

    def global_name(self, sequence: str) -> str:
        """See ``Dataset``; two folders of one name are not the same pictures."""
        return str((self.root / sequence).resolve())


def _pictures(place: Path) -> list[str]:
    found = sorted(path.name for path in place.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
    if odd := [name for name in found if not name.isprintable()]:
        raise UserError(f"{place}: the picture {odd[0]!r} has a name that cannot be printed; rename it")
    return found
