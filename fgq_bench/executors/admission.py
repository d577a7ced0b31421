"""Memory: another process starts a run only where what runs have taken so far is free; what a process holds."""

from __future__ import annotations

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def available_bytes(path: Path = MEMINFO) -> int | None:
    """Memory that processes may still take before the system swaps or kills, None where the system does not say."""
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def resident_bytes(process: int) -> int | None:
    """Memory that a process holds now, None where it has ended or the system (other than Linux) does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


class Admission:
    """Knows the largest peak that a worker of this sweep has reported.

    A run that is alone always starts: waiting would not help it. Beside others one starts where as much as that peak is
    available once they, too, have taken it. Pages that an idle worker keeps are counted as taken, though its next run would use them: it errs to the
    safe side.

    Args:
        guess: bytes that a run takes, until a worker has reported.
    """

    def __init__(self, guess: int, meminfo: Path = MEMINFO) -> None:
        self.meminfo, self.guess = meminfo, guess
        self.peak = 0  # bytes

    def learn(self, peak: int) -> None:
        """A worker reports its peak in bytes."""
        self.peak = max(self.peak, peak)

    def allows(self, held: list[int | None]) -> bool:
        """Whether one more run may start beside those whose processes hold ``held`` bytes now (None: not known)."""
        available, peak = available_bytes(self.meminfo), self.peak or self.guess
        coming = sum(max(0, peak - (each or 0)) for each in held)
        return not held or available is None or available >= peak + coming
