"""The walk through a full-size VGGT-1B: load, calibrate, quantize with every method, save, load, predict.

    FGQ_BENCH_WALK=/tmp/walk pytest tests/large -m slow -s

needs 15 GB of disk, 24 GiB of memory and most of an hour on two cores; the folder (default: pytest's own) is kept.
Weights are random, in the official layout, so no number here says how good a method is: the walk shows that every step
works at this size, and what it costs. Trainers take 2 steps a block, AWQ and QVGGT search 4 scales of 20, QVGGT's task-aware search sees 2 blocks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
MACHINE = 24 * 2**30  # bytes
METHODS = {
    "rtn": "w4a4", "smoothquant": "w4a4", "quarot": "w4a4", "gptq": "w4a4", "awq": "w4a4", "flatquant": "w4a4",
    "fgq": "w4a4", "quantvggt": "w4a4", "qvggt:vggt-1b": "w4a16g128", "qvggt:sd": "w4a16g128",
}  # fmt: skip


def take(folder: Path, step: str, *arguments: str) -> dict[str, float]:
    """Run one step in a process of its own and print its row."""
    command = [sys.executable, str(Path(__file__).with_name("walk.py")), str(folder), step, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    label = " ".join((step, *arguments))
    assert done.returncode == 0, f"{label}: {done.stderr[-2000:]}"
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    more = ", ".join(f"{key} {value:.4g}" for key, value in found.items() if key not in ("seconds", "cpu", "peak"))
    times, peak = f"{found['seconds']:7.1f} s | {found['cpu']:7.1f} CPU s", f"{found['peak'] / 1e9:5.2f} GB"
    print(f"| {label:28} | {times} | {peak} | {more}", flush=True)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint, loaded once, and the captured statistics."""
    given = os.environ.get("FGQ_BENCH_WALK")
    folder = Path(given) if given else tmp_path_factory.mktemp("walk")
    folder.mkdir(parents=True, exist_ok=True)
    print()
    take(folder, "write")
    loaded = take(folder, "load")
    assert loaded["peak"] < loaded["bytes"] + 2**29, "the interpreter, the model and one tensor"
    assert take(folder, "calibrate")["peak"] < MACHINE
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_walks_through(folder: Path, method: str) -> None:
    made = take(folder, "quantize", method, METHODS[method])
    used = take(folder, "predict", method, METHODS[method])
    assert max(made["peak"], used["peak"]) < MACHINE
    assert made["share"] < 1
    assert used["finite"] == 1
    assert used["depth_change"] > 0
