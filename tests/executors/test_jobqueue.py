"""``--cluster slurm.toml`` with a SLURM that is three small scripts: jobs are processes of this machine."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from small_sweep import Small

from fgq_bench.errors import UserError
from fgq_bench.executors.base import Patience
from fgq_bench.executors.choice import Choice
from fgq_bench.runner import Workspace
from tests.stores import stored

pytest.importorskip("dask_jobqueue", reason="pip install dask-jobqueue")
pytestmark = pytest.mark.filterwarnings("default", "ignore::pytest.PytestUnraisableExceptionWarning")

SBATCH = """#!/bin/sh
cp "$1" {folder}/job-$$.sh
setsid sh {folder}/job-$$.sh >/dev/null 2>&1 </dev/null &
echo $! >> {folder}/jobs
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nkill -KILL -- "-$1" 2>/dev/null || true\n'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file for ``--cluster``; every job is ended after the test."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {"sbatch": SBATCH.format(folder=tmp_path), "scancel": SCANCEL}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    path = tmp_path / "slurm.toml"
    path.write_text(
        f'system = "SLURM"\njobs = 1\n[options]\ncores = 1\nmemory = "2GB"\npython = "{sys.executable}"\n'
        f'interface = "lo"\nlocal_directory = "{tmp_path}"\nwalltime = "00:10:00"\n'
    )
    return path


def test_jobs_compute_and_end_with_the_sweep(small: Small, slurm: Path, tmp_path: Path) -> None:
    workspace, choice = Workspace(tmp_path / "out"), Choice("dask", cluster=slurm, insecure=True, patience=Patience())
    choice.check()
    try:
        with choice.open(workspace, "stop", "cpu") as executor:
            assert small.sweep(executor, small.runs[:1]).computed == 2
        assert stored(workspace.root).items() <= small.expected.items()
    finally:
        for job in (tmp_path / "jobs").read_text().split():
            with suppress(ProcessLookupError):
                os.killpg(int(job), signal.SIGKILL)


def test_an_option_that_slurm_does_not_have_is_one_line(slurm: Path, tmp_path: Path) -> None:
    slurm.write_text(slurm.read_text() + 'walltme = "1"\n')
    choice = Choice("dask", cluster=slurm, insecure=True)
    with (
        pytest.raises(UserError, match=r"slurm\.toml: .*walltme") as caught,
        choice.open(Workspace(tmp_path), "stop", "cpu"),
    ):
        pass
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()  # the cluster that came to nothing complains when it goes: now, where that is ignored
