"""NumPy's files, bounded: an array takes no more memory than its bytes, and never starts Python's unpickler."""

from __future__ import annotations

import io
import math
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgq_bench.bounded import LIMIT, read_bytes, read_zip

ARCHIVE = 2**22  # bytes that the arrays of an .npz may unpack to: cameras, not maps
HEADER_ERRORS = (  # what reading a header ends with, which is a dictionary in Python's notation
    ValueError, TypeError, KeyError, AttributeError, IndexError, SyntaxError, OverflowError, RecursionError,
    MemoryError, EOFError, tokenize.TokenError,
)  # fmt: skip


def read_npy(path: Path, limit: int = LIMIT) -> NDArray[Any]:
    """The array in an ``.npy`` file of at most ``limit`` bytes; raises OSError or ValueError, also for objects."""
    return _parse(read_bytes(path, limit))


def read_npz(path: Path, limit: int = ARCHIVE) -> dict[str, NDArray[Any]]:
    """The arrays in an ``.npz`` file by their names; raises OSError or ValueError as ``read_npy`` does."""
    return {name.removesuffix(".npy"): _parse(content) for name, content in read_zip(path, limit).items()}


def _parse(content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    try:
        if (version := np.lib.format.read_magic(file)) not in _HEADERS:
            raise ValueError(f"version {version} of the format; 1 and 2 are read")
        shape, _, dtype = _HEADERS[version](file)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize > len(content):
            raise ValueError(f"{dtype} {list(shape)} are more than {len(content)} bytes")
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
    except HEADER_ERRORS as error:
        raise ValueError((str(error).strip().splitlines() or [type(error).__name__])[0]) from None


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
