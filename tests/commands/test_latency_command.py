"""``latency`` and ``parity`` as a user meets them: what is stored, what is refused, what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from fgq_bench import cli
from fgq_bench.errors import UserError
from fgq_bench.kernels.kernel import Kernel
from fgq_bench.kernels.registry import find_backend
from fgq_bench.latency.deployment import deployed, random_model
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme

TINY = ["--model", "vggt-tiny", "--scope", "aa", "--seconds", "0.001"]


def call(*arguments: object) -> str:
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def stored(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(path for path in (folder / "results").rglob("*.json") if ".meta." not in path.name)
    return [json.loads(path.read_text()) for path in paths]


def test_layers_are_timed_once_and_keep_their_samples(tmp_path: Path) -> None:
    arguments = ["latency", *TINY, "--tokens", 5, "-b", "w4a4", "-b", "w4a4g16", "-o", tmp_path]
    assert "4 cases timed, 0 already stored" in call(*arguments)
    assert "0 cases timed, 4 already stored" in call(*arguments)
    results = stored(tmp_path)
    assert sorted(result["conditions"]["role"] for result in results) == ["fc1", "fc2", "proj", "qkv"]
    for result in results:
        metrics = result["metrics"]
        assert {"bf16", "w4a4", "w4a4 without quantiser", "w4a4 sums only", "w4a4 + Hadamard"} <= set(metrics)
        assert len(metrics["w4a4"]["samples"]) >= 3
        assert metrics["w4a4"]["p20"] <= metrics["w4a4"]["value"] <= metrics["w4a4"]["p80"]
        assert metrics["w4a4"]["kernel"] == "cpu-int8"
        assert "not per group of 16" in metrics["w4a4g16"]["refused"]["cpu-int8"]
        assert result["conditions"]["variants"]["kernels"]["cpu-int8"] == 1
    assert "4 cases timed, 0 already stored" in call(*arguments, "--overwrite")


def test_another_version_of_a_kernel_is_another_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["latency", *TINY, "--tokens", 5, "-b", "w4a4", "-o", tmp_path]
    call(*arguments)
    monkeypatch.setattr(find_backend("cpu").classes()[0], "version", 2)
    assert "4 cases timed, 0 already stored" in call(*arguments)


def test_networks_keep_memory_bytes_and_place_of_time(tmp_path: Path) -> None:
    arguments = ["latency", *TINY, "--frames", 1, "--size", 28, "-b", "w4a4", "-o", tmp_path]
    call(
        *arguments, "--subject", "blocks", "--subject", "aggregator", "--subject", "model", "-m", "rtn", "-m", "quarot"
    )
    found = {result["conditions"]["subject"]: result for result in stored(tmp_path)}
    assert set(found) == {"blocks", "aggregator", "model"}
    for result in found.values():
        assert set(result["metrics"]) == {"bf16", "rtn w4a4", "quarot w4a4"}
        assert result["metrics"]["rtn w4a4"]["execution"]["integer"]["flops"] == 1.0
        assert {"linears", "attention", "quantise"} <= set(result["metrics"]["rtn w4a4"]["breakdown"])
    whole = found["model"]["metrics"]
    assert whole["rtn w4a4"]["resident_bytes"]["aa"] < whole["bf16"]["resident_bytes"]["aa"]
    assert whole["rtn w4a4"]["resident_bytes"]["heads"] == whole["bf16"]["resident_bytes"]["heads"]
    assert whole["rtn w4a4"]["stored_bytes"]["total"] < whole["rtn w4a4"]["stored_bytes"]["total_bf16"]
    assert "heads" in whole["bf16"]["breakdown"]
    text = call("report", "latency", "--results", tmp_path / "results")
    assert "rtn w4a4" in text
    assert "bf16" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subject", "layer"], "--subject 'layer': choose from layers, blocks"),
        (["--size", 100, "--subject", "model"], "--size 100: must be a multiple of the patch size 14"),
        (["--seconds", 0], "seconds > 0"),
        (["--backend", "reference"], "emulates, so there is nothing to time"),
        (["-b", "w4a4-astatic"], "single layers are timed at quantizing schemes with dynamic inputs"),
        (["-b", "w16a16"], "single layers are timed at quantizing schemes"),
        (["-b", "w4a16g96"], "group size 96 does not divide"),
        (["--model", "vggt-tinny"], "did you mean vggt-tiny"),
    ],
)
def test_what_cannot_be_timed_is_refused_first(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call("latency", "--tokens", 1, "-o", tmp_path, *arguments)


def test_random_weights_teach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro: VGGT) -> None:
    from fgq_bench.commands import latency

    monkeypatch.setattr(latency, "random_model", lambda config, seed, device: micro)
    with pytest.raises(UserError, match="gptq w4a4: learns from data, which says nothing about random weights"):
        call(
            "latency",
            "--subject",
            "model",
            "-m",
            "gptq",
            "-b",
            "w4a4",
            "--calibration",
            "procedural-64x4",
            "-o",
            tmp_path,
        )


def test_deployed_models_compute_in_bf16_and_leave_kernels_alone(micro_config: VGGTConfig) -> None:
    class Packed(Kernel):
        """Holds integers as a parameter, as libraries do."""

        name, device_type, integer = "packed", "cpu", False

        def __init__(self, linear: QuantLinear) -> None:
            super().__init__(linear)
            self.packed = torch.nn.Parameter(linear.codes, requires_grad=False)

        @classmethod
        def refusal(cls, linear: QuantLinear) -> None:
            return None

        def run(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
            return x

    model = random_model(micro_config, 0, torch.device("cpu"))
    block = model.get_submodule("aggregator.frame_blocks.0")
    fc1 = block.get_submodule("mlp.fc1")
    assert isinstance(fc1, torch.nn.Linear)
    mlp = block.get_submodule("mlp")
    mlp.fc1 = Packed(QuantLinear.from_float(fc1.weight, fc1.bias, Scheme.parse("w4a4")))
    small = deployed(model)
    assert small.get_parameter("aggregator.frame_blocks.0.mlp.fc1.packed").dtype == torch.int8
    assert small.get_parameter("aggregator.frame_blocks.1.mlp.fc1.weight").dtype == torch.bfloat16
    assert small.get_parameter("depth_head.norm.weight").dtype == torch.float32
    assert model.get_parameter("aggregator.frame_blocks.1.mlp.fc1.weight").dtype == torch.float32
    assert model.get_parameter("aggregator.frame_blocks.1.ls1.gamma")[0] == pytest.approx(0.01)


def test_parity_of_a_backend(tmp_path: Path) -> None:
    arguments = ["parity", "-m", "rtn", "-m", "quarot", "-b", "w4a4", "-b", "w4a16g64", "--limit", 1, "-o", tmp_path]
    rows = json.loads(call(*arguments, "--json"))
    assert [row["layers"] for row in rows] == ["32 of 32"] * 4
    for row in rows:
        assert row["outputs"] == 0
        assert row["rotation median"] == row["depth p99"] == 0
        assert row["sums differ"] == (0 if row["scheme"] == "w4a4" else None)
        assert len(row["by_layer"]) == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "reference", "-b", "w4a4"], "is what others are compared with"),
        (["-b", "w16a16"], "name one that quantizes"),
    ],
)
def test_parity_needs_something_to_compare(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call("parity", "-m", "rtn", *arguments, "-o", tmp_path)
