"""Scratch folders: they go with the process that made them, and what a killed one left is told from what is in use.

The owner holds a lock on its folder, which the kernel drops with the process. Process numbers could not say who lives:
containers that share a disk and a host name count their own. Where a lock says nothing (another machine's, a file
system without locks) a folder is left alone until it is a day old by the file system's own clock.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

STALE = 24 * 3600.0  # s
TEMPORARY = "fgq-bench."  # prefix of those in the system's folder for temporary files
_NAME = re.compile(r"(?P<prefix>.+\.)(?P<place>[0-9a-f]{12})\.[a-z0-9_]+")


@contextmanager
def scratch_folder(prefix: str = TEMPORARY, parent: Path | None = None) -> Iterator[Path]:
    """A new folder in ``parent`` (default: the system's for temporary files), removed with the context.

    Those with the same ``prefix`` (which ends with a dot) whose owners are gone are removed, too.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    folder, handle = _locked_folder(where, prefix)
    try:
        _clear([path for path in where.glob(f"{glob.escape(prefix)}*") if _prefix(path) == prefix], _now(handle))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def clear_below(root: Path) -> None:
    """Remove the hidden scratch folders anywhere under ``root`` whose owners are gone."""
    with suppress(OSError), scratch_folder(".clearing.", root) as own:  # OSError: nothing can be removed there, either
        _clear([path for path in root.rglob(".*") if path != own and _prefix(path)], own.stat().st_mtime)


def clear_temporary() -> None:
    """Remove the scratch folders in the system's folder for temporary files whose owners are gone."""
    with scratch_folder():
        pass


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new folder and an open file that holds its lock; made again where somebody cleared it before it was locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{_place()}.", dir=parent))
        with suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            if _lock(handle) is not False and folder.exists():
                return folder, handle
            os.close(handle)


def _lock(handle: int) -> bool | None:
    """Try to lock an open folder: False where another process holds it, None where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _clear(folders: Iterable[Path], now: float) -> None:
    """Remove those of ``folders`` that nobody uses; ``now``: see ``STALE``."""
    for folder in folders:
        with suppress(OSError):  # somebody else was faster, or it is another user's
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _is_abandoned(folder, handle, now):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _is_abandoned(folder: Path, handle: int, now: float) -> bool:
    """Whether its owner is gone; afterwards this process holds the lock."""
    locked = _lock(handle)
    if locked is False:
        return False
    here = (match := _NAME.fullmatch(folder.name)) is not None and match["place"] == _place()
    return (here and locked is True) or now - _now(handle) > STALE


def _prefix(path: Path) -> str | None:
    """With which prefix a scratch folder was made; None where ``path`` is not called like one."""
    match = _NAME.fullmatch(path.name)
    return None if match is None else match["prefix"]


def _now(handle: int) -> float:
    """When an open folder was last changed: of one just made, the file system's present."""
    return os.fstat(handle).st_mtime


@cache
def _place() -> str:
    """Where locks are seen by everybody who has the same name for it: one start of one kernel, one PID namespace."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux: nobody else has this name
        text = str(uuid.uuid4())
    return hashlib.sha256(text.encode()).hexdigest()[:12]
