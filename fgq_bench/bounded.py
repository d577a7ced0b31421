"""Bounded reads: regular files only, and no more bytes than the caller expects; every reader of files goes through here.

A pipe or a device under a file's name would be read for ever, a small archive may unpack to more than the memory holds.
All functions raise OSError or ValueError, whose message is one line without the file's name: callers say what they read.
"""

from __future__ import annotations

import errno
import gzip
import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

LIMIT = 2**26  # bytes of a file that is read whole, unless the caller says otherwise
MANY = 2**40  # bytes: of files that are mapped or streamed, never held
SPARE = 2**16  # bytes that a file may have grown by since its size was asked
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OverflowError)  # RuntimeError: encrypted

T = TypeVar("T")


def open_regular(path: Path, limit: int = MANY) -> BufferedReader:
    """``path`` opened for reading; raises OSError for what is no regular file, ValueError where it is over ``limit``.

    A pipe without a writer does not block: it is opened without waiting, then refused.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > limit:
            raise ValueError(f"{status.st_size} bytes; at most {limit} are read")
        return os.fdopen(handle, "rb")
    except (OSError, ValueError):
        os.close(handle)
        raise


def check_regular(path: Path) -> None:
    """Raise OSError for what is no regular file: before a library opens it by its name."""
    open_regular(path).close()


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """The content of a file of at most ``limit`` bytes."""
    with open_regular(path, limit) as file:
        return _at_most(file.read, min(limit, os.fstat(file.fileno()).st_size + SPARE))


def read_text(path: Path, limit: int = LIMIT) -> str:
    """The UTF-8 text of a file of at most ``limit`` bytes."""
    return read_bytes(path, limit).decode("utf-8-sig")  # without the mark that Windows' editors put first


def read_gzip(path: Path, limit: int = LIMIT) -> bytes:
    """What a gzipped file unpacks to, at most ``limit`` bytes."""
    with open_regular(path, limit) as file, gzip.GzipFile(fileobj=file) as unpacked:
        return _undamaged(lambda: _at_most(unpacked.read, limit))


def _at_most(read: Callable[[int], bytes | None], limit: int) -> bytes:
    """Everything there is to read; stops at ``limit`` whatever a header claims."""
    content = read(limit + 1) or b""  # None: a file of the kernel that has nothing to say yet
    if len(content) > limit:
        raise ValueError(f"more than {limit} bytes, which is all that is read")
    return content


def read_zip(path: Path, limit: int) -> dict[str, bytes]:
    """The files in a zip archive by their names; together at most ``limit`` bytes."""
    with open_regular(path, limit) as file:
        return _undamaged(lambda: _members(file, limit))


def _members(file: BufferedReader, limit: int) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        _check_sizes(archive, limit)
        return {info.filename: archive.read(info) for info in archive.infolist()}


def _check_sizes(archive: zipfile.ZipFile, limit: int) -> None:
    if (total := sum(info.file_size for info in archive.infolist())) > limit:
        raise ValueError(f"an archive that unpacks to {total} bytes; at most {limit} are read")


def _undamaged(read: Callable[[], T]) -> T:
    """What ``read`` gives; damage that it meets is a ValueError."""
    try:
        return read()
    except ARCHIVE_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from None
