"""Two runners on one store do not clash, and one that is killed at any moment can be run again."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from fgq_bench.results import Store
from tests.stores import stored

COMMAND = [sys.executable, "-m", "fgq_bench", "run", "-m", "fp", "-m", "rtn", "-b", "w8a8", "-d", "procedural-rooms", "--limit", "2"]  # fmt: skip


def test_concurrent_runners_write_what_one_writes(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "--output", str(tmp_path / "one")], check=True, capture_output=True)
    both = [
        subprocess.Popen([*COMMAND, "--output", str(tmp_path / "two")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2
    assert stored(tmp_path / "two") == stored(tmp_path / "one")
    assert len(Store(tmp_path / "two" / "results").all()) == 10
    assert not list((tmp_path / "two").rglob(".*"))


def test_killed_at_a_random_moment_and_resumed_gives_the_same_bytes(tmp_path: Path) -> None:
    began = time.monotonic()
    subprocess.run([*COMMAND, "--output", str(tmp_path / "whole")], check=True, capture_output=True)
    whole = time.monotonic() - began
    for attempt in range(3):
        moment = random.uniform(0.2, 1) * whole
        print(f"attempt {attempt}: killed after {moment:.2f} of {whole:.2f} s")  # shown when the test fails
        victim = subprocess.Popen([*COMMAND, "--output", str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
        time.sleep(moment)
        victim.kill()
        victim.wait()
        Store(tmp_path / "killed" / "results").all()  # whatever is there can be read
    subprocess.run([*COMMAND, "--output", str(tmp_path / "killed")], check=True, capture_output=True)
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")
