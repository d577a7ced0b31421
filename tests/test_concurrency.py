"""Two runners on one store do not clash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fgq_bench.results import Store

COMMAND = [sys.executable, "-m", "fgq_bench", "run", "-m", "fp", "-m", "rtn", "-b", "w8a8", "-d", "procedural-rooms", "--limit", "2"]  # fmt: skip


def results(root: Path) -> dict[str, bytes]:
    folder = root / "results"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.json") if ".meta." not in p.name}


def test_concurrent_runners_write_what_one_writes(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "--output", str(tmp_path / "one")], check=True, capture_output=True)
    both = [
        subprocess.Popen([*COMMAND, "--output", str(tmp_path / "two")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2
    assert results(tmp_path / "two") == results(tmp_path / "one")
    assert len(Store(tmp_path / "two" / "results").all()) == 10
    assert not list((tmp_path / "two").rglob(".*"))
