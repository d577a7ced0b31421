"""What a store holds, to compare stores byte by byte."""

from __future__ import annotations

from pathlib import Path


def stored(output: Path) -> dict[str, bytes]:
    """Every result file of a sweep's output with its bytes, by its name; how it was made is left out."""
    folder = output / "results"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.json") if ".meta." not in p.name}
