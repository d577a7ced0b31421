"""The one listing of a data set's folders: all loaders see the same entries, and what is left out is counted."""

from __future__ import annotations

import os
from pathlib import Path

from fgq_bench.errors import BadData, UserError
from fgq_bench.sidecars import is_sidecar

HIDDEN = "hidden files or folders, or a system's own"
OTHER = "files of other kinds"
DANGLING = "links to nothing"
NO_DATA = (HIDDEN, OTHER)  # reasons that take nothing away; every other one does
EXAMPLES = 3  # names in a line


class Listing:
    """Lists folders below ``root`` in the order of names; keeps what it leaves out, by reason."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._left_out: dict[str, set[str]] = {}

    def folders(self, place: Path) -> list[Path]:
        """The folders in ``place``; raises UserError where there is no such folder."""
        if not place.is_dir():
            raise UserError(f"{place}: no such folder")
        entries = self._entries(place)
        for entry in entries:
            if entry.is_symlink() and not os.path.exists(entry.path):
                self.leave_out(DANGLING, Path(entry.path))
        return [Path(entry.path) for entry in entries if entry.is_dir()]

    def files(self, place: Path, *endings: str) -> list[Path]:
        """What is no folder in ``place`` and ends in one of ``endings`` (lower case), written in any case.

        No entry is opened, so a link to nothing is among them: reading it says so. Empty where there is no such folder.
        """
        if not place.is_dir():
            return []
        entries = self._entries(place)
        return [
            Path(entry.path) for entry in entries if entry.name.lower().endswith(endings or "") and not entry.is_dir()
        ]

    def leave_out(self, reason: str, path: Path) -> None:
        """Count an entry that is not read."""
        name = path.relative_to(self.root).as_posix()
        self._left_out.setdefault(reason, set()).add(name if name.isprintable() else ascii(name))

    def ignored(self) -> list[str]:
        """What was left out and is no data, one line per reason."""
        return [line for reason, line in self._lines() if reason in NO_DATA]

    def lost(self) -> list[str]:
        """What was left out and may be somebody's data, one line per reason."""
        return [line for reason, line in self._lines() if reason not in NO_DATA]

    def _lines(self) -> list[tuple[str, str]]:
        return [(reason, f"{len(names)} {reason}: {some(sorted(names))}") for reason, names in self._left_out.items()]

    def _entries(self, place: Path) -> list[os.DirEntry[str]]:
        """All but sidecars; raises BadData for a folder that cannot be listed, UserError for a name nobody can print."""
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise BadData(f"{place}: cannot be listed ({error.strerror})") from None
        for entry in entries:
            if is_sidecar(entry.name):
                self.leave_out(HIDDEN, Path(entry.path))
        kept = [entry for entry in entries if not is_sidecar(entry.name)]
        if odd := [entry.name for entry in kept if not entry.name.isprintable()]:
            raise UserError(f"{place}: {odd[0]!r} has a name that cannot be printed; rename it")
        return kept


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:EXAMPLES]) + (f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else "")


def find_file(path: Path, *others: str) -> Path:
    """``path``, or where it is not there, the file beside it with its stem and the same suffix or one of ``others``
    (lower case), written in any case; ``path`` itself where there is none.
    """
    for usual in (path, *map(path.with_suffix, others)):
        if usual.is_file():
            return usual
    if not path.parent.is_dir():
        return path
    suffixes = (path.suffix.lower(), *others)
    beside = sorted(other for other in path.parent.iterdir() if other.stem == path.stem)
    return next((other for other in beside if other.suffix.lower() in suffixes and other.is_file()), path)
