"""A report's files: each is written where it does not hold what it should, and left alone where it does."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fgq_bench.files import write_atomically


class File(NamedTuple):
    """A file of a report, and whether it had to be written."""

    path: Path
    changed: bool


def write_file(path: Path, content: bytes) -> File:
    """Let ``path`` hold ``content``; raises OutputError.

    Only what it holds now decides: whoever was interrupted before may have written any of a report's files, or none.
    """
    changed = not path.is_file() or path.read_bytes() != content
    if changed:
        write_atomically(path, lambda temporary: _write(temporary, content))
    return File(path, changed)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def describe(stem: Path, files: list[File]) -> str:
    """``wrote STEM.{md,csv} and 4 figures``, or ``up to date: ...``; tables are the files called STEM, the rest are figures."""
    endings = [file.path.suffix[1:] for file in files if file.path.with_suffix("") == stem]
    figures = len(files) - len(endings)
    verb = "wrote" if any(file.changed for file in files) else "up to date:"
    return f"{verb} {stem}.{{{','.join(endings)}}}" + (f" and {figures} figures" if figures else "")
