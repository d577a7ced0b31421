"""The GPU check on fake tensors: every line of Python between a command and a kernel's launch, for sm_90."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``python -m tests.gpu --dry`` leaves."""
    pytest.importorskip("triton", reason="the kernels need triton (pip install fgq-bench[gpu])")
    folder = tmp_path_factory.mktemp("gpu")
    run = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "--dry", "-o", folder], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, (folder / "log.txt").read_text()[-6000:]
    return folder


def results(output: Path) -> list[dict[str, Any]]:
    with tarfile.open(output / "results.tar.gz") as archive:
        names = [each for each in archive.getnames() if each.endswith(".json") and ".meta." not in each]
        files = [archive.extractfile(name) for name in names]
        return [json.loads(file.read()) for file in files if file is not None]


def test_nothing_fails(output: Path) -> None:
    assert "every step succeeded" in (output / "summary.md").read_text()
    found = results(output)
    assert {result["conditions"]["subject"] for result in found} == {"layers", "blocks", "aggregator", "model"}
    errors = [entry["error"] for result in found for entry in result["metrics"].values() if "error" in entry]
    assert not errors


def test_every_kernel_is_launched(output: Path) -> None:
    launched = set(
        re.findall(r"\b\w+_kernel\b", " ".join(re.findall(r"launches of (.*)", (output / "log.txt").read_text())))
    )
    expected = {
        "int8_kernel",
        "int4_kernel",
        "quantize_kernel",
        "layer_norm_kernel",
        "gelu_kernel",
        "weight_only_kernel",
    }
    assert expected <= launched


def test_layers_are_timed_with_the_layer_before_them_in_both_arms_and_beside_fp8(output: Path) -> None:
    layers = {
        result["conditions"]["role"]: result["metrics"]
        for result in results(output)
        if result["conditions"]["subject"] == "layers" and "w8a8" in result["metrics"]
    }
    assert set(layers) == {"qkv", "proj", "fc1", "fc2"}
    for metrics in layers.values():
        assert {"w4a4 + producer", "w8a8 + producer", "fp8", "fp8 without quantiser"} <= set(metrics)
        assert metrics["w8a8 + producer"]["speedup"]["over"] == "bf16 + producer"
        assert metrics["w8a8 + Hadamard"]["speedup"]["over"] == "bf16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_ends_at_once(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-m", "tests.gpu", "-o", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert "no CUDA device: nothing to measure" in run.stdout and "failed: machine" in run.stdout


def test_a_wrong_step_is_named() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "--dry", "--only", "leyers"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2 and "choose from machine, layers" in run.stderr
