"""A folder's files as bytes: how what calibration captured gets to machines that share no file system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from fgq_bench.bounded import MANY, read_bytes
from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically


@dataclass(frozen=True)
class Bundle:
    """Files by their name inside a folder (with slashes), and the hash of all of them."""

    files: dict[str, bytes]
    hash: str

    @classmethod
    def pack(cls, folder: Path) -> Bundle:
        """The tensor files under ``folder``; raises OSError, also for what is no regular file."""
        files = {
            path.relative_to(folder).as_posix(): read_bytes(path, MANY)
            for path in sorted(folder.rglob("*.safetensors"))
        }
        return cls(files, hash_files(files))

    def unpack(self, folder: Path) -> None:
        """Write the files that ``folder`` lacks.

        Raises:
            UserError: the content is not that of the hash, or a name leads out of the folder.
            OutputError: the disk refuses.
        """
        if hash_files(self.files) != self.hash:
            raise UserError("what calibration captured was damaged on its way")
        for name, content in self.files.items():
            place = PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts:
                raise UserError(f"{name!r}: a file of a calibration that leads out of its folder")
            path = folder / place
            if not path.is_file() or read_bytes(path, MANY) != content:
                write_atomically(path, partial(_write, content))


def hash_files(files: dict[str, bytes]) -> str:
    """SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)
