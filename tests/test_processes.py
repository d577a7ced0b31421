"""A process of its own: answers and errors come back, and it does not outlive who asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fgq_bench.errors import UserError
from fgq_bench.processes import in_fresh_process
from fgq_bench.registry import find_method

PARENT = """
from fgq_bench.processes import in_fresh_process
in_fresh_process(exec, "import os, pathlib, time; pathlib.Path({path!r}).write_text(str(os.getpid())); time.sleep(60)")
"""


def wait_until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Fails where ``done`` is not true in time."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie (nobody may be there to bury it)."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_answers_and_errors_come_back() -> None:
    assert in_fresh_process(os.getpid) != os.getpid()
    with pytest.raises(UserError, match="unknown method 'rnt'; did you mean rtn"):
        in_fresh_process(find_method, "rnt")


def test_a_process_that_dies_is_an_error_in_one_line() -> None:
    with pytest.raises(RuntimeError, match="its process died, perhaps for lack of memory"):
        in_fresh_process(os._exit, 1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_it_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(path=str(path))], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: path.is_file() and bool(path.read_text()))
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not is_running(int(path.read_text())))
