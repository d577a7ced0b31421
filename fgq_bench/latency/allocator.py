"""What the C library does with freed memory: kept for timing, given back for measuring memory."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the rest of the process; False where there is no glibc.

    By default every tensor of more than 32 MiB is a fresh mapping whose pages fault on first touch: filling 40 MB
    takes several times as long, and which variant pays is chance. No mappings at all (M_MMAP_MAX = 0; M_MMAP_THRESHOLD
    ends at 32 MiB in older glibc) and no trimming (-1 stands for never) prevent it in the main thread. Memory touched
    for the first time still faults, so warm up; and the process may hold its peak until ``release_freed_memory``.
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (others have a mallopt that does nothing)
        return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, -1))
    except (AttributeError, OSError, TypeError):
        return False


def release_freed_memory() -> bool:
    """Give freed memory back to the kernel now; False where there is no glibc."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return False
    return True
