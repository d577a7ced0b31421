"""How commands end: 130 after ^C wherever it comes, one line for what the machine lacks, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fgq_bench import __main__, cli
from fgq_bench.errors import UserError, lacks_memory
from fgq_bench.models.checkpoints import load_model
from fgq_bench.models.vggt import VGGTConfig
from tests.test_processes import wait_until

COMMANDS = {
    "run": ["run", "-m", "rtn", "-b", "w4a4", "-d", "procedural-rooms"],
    "cost": ["cost", "-m", "flatquant", "-b", "w4a4"],
}


def command_of(pid: str) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def started(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    """A command with a process group and a folder for temporary files of its own."""
    variables = {**os.environ, "TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "compiled")}
    return subprocess.Popen(
        [sys.executable, "-m", "fgq_bench", *arguments, "-o", str(folder.parent / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables, start_new_session=True,
    )  # fmt: skip


def children(pid: int) -> str:
    """Numbers of its child processes."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize(("command", "more"), [("cost", []), ("run", ["--workers", "2"])])
def test_interrupted_is_130_without_a_traceback(tmp_path: Path, command: str, more: list[str]) -> None:
    """^C goes to the whole group, as a terminal sends it: here where a child computes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = started(folder, [*COMMANDS[command], *more])
    wait_until(lambda: "-P -m fgq_bench" in " ".join(map(command_of, children(process.pid).split())), 300)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert "Traceback" not in err
    assert process.returncode == 130, err
    assert not list(folder.iterdir())


def test_a_sweep_that_is_interrupted_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fgq_bench.runner.Sweep.execute", interrupt)
    monkeypatch.setattr(sys, "argv", ["fgq-bench", *COMMANDS["run"], "--limit", "1", "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert "interrupted; finished cells are stored: run the same command to go on" in capsys.readouterr().err


def test_interrupted_while_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupt)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 130


@pytest.mark.parametrize("arguments", [["list", "tasks"], ["--help"]])
def test_without_docstrings_and_assertions(arguments: list[str]) -> None:
    """``python -OO``."""
    done = subprocess.run([sys.executable, "-OO", "-m", "fgq_bench", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["run", "cost"])
@pytest.mark.parametrize("seed", [str(2**70), str(2**63), "-1"])
def test_a_seed_that_no_generator_takes_is_refused(
    command: str, seed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fgq-bench", *COMMANDS[command], "--seed", seed])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "Invalid value for '--seed'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_too_little_memory_is_not_the_checkpoints_fault(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: VGGTConfig) -> None:
        raise error

    monkeypatch.setattr(VGGTConfig, "build", fail)
    monkeypatch.setattr(sys, "argv", ["fgq-bench", *COMMANDS["run"], "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: not enough memory: ")
    assert lacks_memory(error)


def test_an_unwritable_compile_cache_is_not_the_checkpoints_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UserError, match="TORCHINDUCTOR_CACHE_DIR"):
        load_model("vggt-tiny")
    assert not lacks_memory(OSError("x"))


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given: str | None, policy: str) -> None:
    """OpenMP itself says so, which reads the variable when torch loads it."""
    code = (
        "import sys; sys.argv = ['fgq-bench', 'doctor', '--json']\n"
        "from fgq_bench import __main__\n"
        "assert 'torch' not in sys.modules\n"
        "__main__.main()"
    )
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    variables |= {"OMP_DISPLAY_ENV": "TRUE"} | ({} if given is None else {"OMP_WAIT_POLICY": given})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
