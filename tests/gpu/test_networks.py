"""Every method's artefact through the whole CUDA path, from installation to the last kernel's launch, on fake tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fgq_bench import api
from fgq_bench.cards import card_names
from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.vggt import VGGT
from fgq_bench.registry import find_method

ROOT = Path(__file__).parents[2]
SHORT = {"epochs": 1, "probes": 1, "probe_clips": 1, "grid": 2}  # overrides that keep a learned method short
METHODS = [name for name in card_names("methods") if name not in ("fp", "qvggt")]  # qvggt: its preset suits one model
ONLINE = ("quarot", "flatquant", "fgq", "quantvggt")  # methods that transform inputs while the network runs

pytestmark = pytest.mark.usefixtures("eager")


def test_every_artefact_runs_on_integer_kernels(micro: VGGT, manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the kernels need triton (pip install fgq-bench[gpu])")
    checkpoint, artefacts = tmp_path / "micro.safetensors", []
    save_model(micro, checkpoint)
    for method in METHODS:
        options = find_method(method).options
        quantized = api.quantize(
            micro, method, "w4a4", overrides={key: value for key, value in SHORT.items() if key in options},
            calibration=str(manifest), folder=tmp_path / "calibration",
        )  # fmt: skip
        artefacts.append(tmp_path / f"{method}.safetensors")
        quantized.save(artefacts[-1])
    run = subprocess.run(
        [sys.executable, "-m", "tests.gpu.fake_networks", checkpoint, *artefacts],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    lines = {line.split(" ")[0]: line for line in run.stdout.splitlines() if line.split(" ")[0] in METHODS}
    assert set(lines) == set(METHODS)
    for method, line in lines.items():
        assert "int4_kernel" in line and "reference" not in line, line
        assert ("transform_kernel" in line) == (method in ONLINE), line
