"""Scratch folders: a killed owner's go, a living one's stay, whatever its process number is here."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgq_bench import scratch
from fgq_bench.executors.child import Child
from fgq_bench.files import write_json, write_text
from fgq_bench.scratch import STALE, clear_below, scratch_folder
from tests.test_processes import wait_until

OWNER = """
import sys, time
from pathlib import Path
from fgq_bench.scratch import scratch_folder
with scratch_folder(".x.json.", Path(sys.argv[1])) as folder:
    (folder / "x.json").touch()
    print(folder, flush=True)
    time.sleep(60)
"""
NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]


def owner(folder: Path, prefix: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a scratch folder, and that folder."""
    process = subprocess.Popen([*prefix, sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def namespaces() -> bool:
    """Whether this user may make a PID namespace here."""
    return (
        shutil.which("unshare") is not None and not subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode
    )


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_what_a_killed_owner_left_is_cleared_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    living, kept = owner(tmp_path, [])
    killed, left = owner(tmp_path, [])
    end(killed)
    write_json(tmp_path / "x.json", 1)
    assert (kept / "x.json").exists()
    assert not left.exists()
    end(living)
    clear_below(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.skipif(not namespaces(), reason="no PID namespaces for this user")
def test_an_owner_in_another_pid_namespace_lives(tmp_path: Path) -> None:
    """Containers of one host name count their own processes: here is none with the owner's number."""
    living, kept = owner(tmp_path, NAMESPACE)
    write_json(tmp_path / "x.json", 1)
    clear_below(tmp_path)
    assert (kept / "x.json").exists()
    end(living)


def test_another_machine_is_believed_for_a_day_by_the_file_systems_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock may not be seen from here, and its clock need not be this one's."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(scratch, "_place", lambda: "0" * 12)
        killed = {age: scratch._locked_folder(tmp_path, ".x.json.") for age in (0.0, STALE - 60, STALE + 60)}
    now = time.time()
    for age, (folder, handle) in killed.items():
        os.utime(folder, (now - age, now - age))
        os.close(handle)
    monkeypatch.setattr(time, "time", lambda: now + 27 * 365 * STALE)
    write_json(tmp_path / "x.json", 1)
    assert [folder.exists() for folder, _ in killed.values()] == [True, True, False]


def test_where_there_are_no_locks_only_age_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    young, old = (scratch._locked_folder(tmp_path, ".x.json.")[0] for _ in range(2))
    os.utime(old, (time.time() - STALE - 60,) * 2)
    write_json(tmp_path / "x.json", 1)
    assert young.exists()
    assert not old.exists()


def test_one_that_is_cleared_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, cleared = scratch._lock, list[int]()

    def late(handle: int) -> bool | None:
        if not cleared:
            cleared.append(handle)
            shutil.rmtree(f"/proc/self/fd/{handle}", ignore_errors=True)
            os.rmdir(os.readlink(f"/proc/self/fd/{handle}"))
        return lock(handle)

    monkeypatch.setattr(scratch, "_lock", late)
    with scratch_folder("a.", tmp_path) as folder:
        assert folder.is_dir()
    assert cleared
    assert not list(tmp_path.iterdir())


def test_only_scratch_folders_are_cleared(tmp_path: Path) -> None:
    """Not what is merely called alike: an editor's file, a link, a hidden folder of the user's."""
    name = f".x.json.{scratch._place()}"
    (tmp_path / f"{name}.file").write_text("a file")
    (tmp_path / "outside").mkdir()
    (tmp_path / f"{name}.link").symlink_to(tmp_path / "outside")
    (tmp_path / ".x.json.swap").mkdir()
    before = sorted(tmp_path.iterdir())
    write_text(tmp_path / "x.json", "")
    clear_below(tmp_path)
    assert sorted(path for path in tmp_path.iterdir() if path.name != "x.json") == before


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_is_what_the_umask_says(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "new" / "x.json", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "x.json").stat().st_mode & 0o777 == mode


HOLDER = """
from fgq_bench.processes import in_fresh_process
from fgq_bench.scratch import scratch_folder
import sys, time
with scratch_folder() as folder:
    print(folder, flush=True)
    in_fresh_process(time.sleep, 60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_of_its_own_puts_away_what_its_killed_parent_left(tmp_path: Path, number: int) -> None:
    """As a killed ``cost`` does."""
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert parent.stdout is not None
    folder = Path(parent.stdout.readline().strip())
    assert folder.parent == tmp_path
    time.sleep(1)  # for the child to start
    parent.send_signal(number)
    parent.communicate()
    wait_until(lambda: not list(tmp_path.iterdir()))


def test_what_a_killed_worker_was_about_to_write_is_cleared(tmp_path: Path) -> None:
    """Anywhere under its folder, though nobody writes that file again; an idle worker's end is not worth a look."""
    for busy in (False, True):
        child = Child(tmp_path)
        (tmp_path / "cache").mkdir(exist_ok=True)
        process, left = owner(tmp_path / "cache", [])
        end(process)
        child._busy = busy
        child.close()
        assert left.exists() is not busy
