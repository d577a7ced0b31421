"""Atomic files: a reader sees the old content or the new one, never half of it."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fgq_bench.errors import OutputError
from fgq_bench.scratch import scratch_folder


def is_file_name(text: str) -> bool:
    """Whether ``text`` names a file inside a folder and nothing else: no path, no other folder, nothing unprintable."""
    return text not in ("", ".", "..") and text.isprintable() and not set(text) & set("/\\")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (read-only, disk full) into one line that names ``path``."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps the operating system's errors in its own
        full = getattr(error, "errno", None) == errno.ENOSPC or f"os error {errno.ENOSPC}" in str(error)
        reason = "no space left on the disk" if full else getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path}: cannot be written: {reason}; what was stored before is intact") from None


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, rename it; raises OutputError.

    The file lies in a folder of its own: safetensors makes another temporary one beside it. Who may read it is what the
    umask says, whatever ``write`` makes of it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(f".{path.name}.", path.parent) as folder:
            temporary, sample = folder / path.name, folder / f"{path.name}.mode"
            sample.touch()
            write(temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(stat.S_IMODE(sample.stat().st_mode))
            temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON (sorted keys, two spaces, final newline) atomically."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Canonical JSON: sorted keys, two spaces, final newline."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
