"""Kernels in the place of quantized linears: who runs what, why not another, and what that makes of a result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fgq_bench import api, cli
from fgq_bench.errors import UserError
from fgq_bench.kernels.fusion import fuse_producers
from fgq_bench.kernels.kernel import Codes, IntegerKernel, centred_weight
from fgq_bench.kernels.placement import SplitKernel, install
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import BACKENDS, find_backend
from fgq_bench.models.layers import Block
from fgq_bench.models.vggt import VGGT
from fgq_bench.models.workload import linear_flops
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme


class Naive(IntegerKernel):
    """The one of ``kernel.py``'s docstring, which also quantises behind LayerNorm and GELU."""

    name = "naive"
    device_type = "cpu"

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        self.weight: torch.Tensor
        self.register_buffer("weight", centred_weight(linear).double())

    def accumulate(self, codes: Codes) -> torch.Tensor:
        return codes.values.double() @ self.weight.T

    def multiply(self, codes: Codes) -> torch.Tensor:
        y = self.accumulate(codes).float() * self.weight_scale * codes.scale
        return (y if self.bias is None else y + self.bias).to(codes.dtype)

    def fused_with(self, producer: nn.Module) -> nn.Module | None:
        kernel = self

        class Quantising(nn.Module):
            def forward(self, x: torch.Tensor) -> Codes:
                return kernel.quantize(producer(x), x.dtype)

        return Quantising()


def naive(model: VGGT, scheme: str) -> tuple[VGGT, VGGT]:
    quantized = api.quantize(model, "rtn", scheme)
    placed = quantized.install(model, execute)
    for block in [module for module in placed.modules() if isinstance(module, Block)]:
        for parent, child in ((block.attn, "qkv"), (block.attn, "proj"), (block.mlp, "fc1"), (block.mlp, "fc2")):
            linear = getattr(parent, child)
            if isinstance(linear, QuantLinear):
                setattr(parent, child, Naive(linear))
    return quantized.install(model, execute), placed


def test_a_new_kernel_and_its_fused_quantisers(micro: VGGT) -> None:
    exact, placed = naive(micro, "w4a4")
    images = torch.rand(1, 2, 3, 56, 56)
    expected = exact(images)
    assert torch.equal(placed(images).depth, expected.depth)
    assert fuse_producers(placed) == 3 * 8, "two norms and a GELU in each of the 4 + 4 alternating blocks"
    assert torch.equal(placed(images).depth, expected.depth)


def test_every_layer_has_a_seat_and_a_reason(micro: VGGT) -> None:
    linears = {
        **api.quantize(micro, "rtn", "w4a4").linears,
        **{f"aggregator.frame_blocks.0.{part}": value for part, value in _grouped(micro).items()},
    }
    small, placement = install(QuantizedModel(linears, {}), micro, find_backend("cpu"))
    seats = placement.seats
    assert set(seats) == set(linears)
    assert seats["aggregator.frame_blocks.0.mlp.fc1"].kernel == "reference"
    assert "not per group of 16" in seats["aggregator.frame_blocks.0.mlp.fc1"].reasons["cpu-int8"]
    assert seats["aggregator.frame_blocks.1.mlp.fc1"].kernel == "cpu-int8"
    summary = placement.summary(linear_flops(micro, 1, (56, 56)))
    assert summary["kernels"] == {"cpu-int8": 31, "reference": 1}
    assert summary["integer"]["layers"] == pytest.approx(31 / 32)
    assert summary["integer"]["flops"] == pytest.approx(1 - 4 / 12 / 8)  # fc1: 4 of a block's 12 units, one of 8 blocks
    assert summary["refusals"] == {
        "cpu-int8: one weight scale per output channel, not per group of 16": 1,
        "cpu-int4-weight: inputs must be float and weights integer": 1,
    }
    exact = QuantizedModel(linears, {}).install(micro, execute)
    images = torch.rand(1, 2, 3, 56, 56)
    assert torch.equal(small(images).points, exact(images).points)


def _grouped(model: VGGT) -> dict[str, QuantLinear]:
    fc1 = model.get_submodule("aggregator.frame_blocks.0.mlp.fc1")
    assert isinstance(fc1, nn.Linear)
    return {"mlp.fc1": QuantLinear.from_float(fc1.weight, fc1.bias, Scheme.parse("w4a4g16"))}


def test_parts_of_a_split_qkv_are_transformed_once(micro: VGGT) -> None:
    quantized = api.quantize(micro, "flatquant", "w4a4", overrides={"epochs": 0})
    small, _ = install(quantized, micro, find_backend("cpu"))
    split = small.get_submodule("aggregator.frame_blocks.0.attn.qkv")
    assert isinstance(split, SplitKernel)
    calls = []
    split.q.transforms[0].register_forward_hook(lambda *_: calls.append(1))
    images = torch.rand(1, 2, 3, 56, 56)
    assert torch.equal(small(images).depth, quantized.install(micro, execute)(images).depth)
    assert len(calls) == 1


def test_backends_for_another_device_or_machine_are_refused(micro: VGGT) -> None:
    made = api.quantize(micro, "rtn", "w4a4")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="backend cuda-int8 cannot run here: no CUDA device"):
            install(made, micro, find_backend("cuda-int8"))
    with pytest.raises(UserError, match="backend cpu runs on cpu, the model is on cuda: give --device cpu"):
        find_backend("cpu").load("cuda")


def test_every_backend_can_be_imported_and_listed() -> None:
    for backend in BACKENDS.values():
        assert len(backend.classes()) == len(backend.kernels)
    rows = json.loads(CliRunner().invoke(cli.app, ["list", "backends", "--json"]).output)
    assert {row["name"]: row["here"] for row in rows}["reference"] == "yes"


def test_a_result_says_what_ran_as_integers(tmp_path: Path) -> None:
    arguments = ["run", "-m", "rtn", "-b", "w4a4", "-d", "procedural-objects", "-t", "pose", "--limit", "1"]
    outcome = CliRunner().invoke(cli.app, [*arguments, "--backend", "cpu", "-o", str(tmp_path)], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    path = next(path for path in (tmp_path / "results").rglob("rtn*.json") if "meta" not in path.name)
    stored = json.loads(path.read_text())
    assert stored["conditions"]["backend"] == "cpu"
    assert stored["execution"]["integer"] == {"layers": 1.0, "bytes": 1.0, "flops": 1.0}
    assert stored["execution"]["quantisers"] == {"fused": 0, "separate": 32}


def test_work_is_counted_without_computing() -> None:
    from fgq_bench.models.vggt import VGGTConfig

    with torch.device("meta"):
        model = VGGT(VGGTConfig())
    flops = linear_flops(model, 2, (518, 518))
    tokens = 2 * (37 * 37 + 5)
    assert flops["aggregator.global_blocks.3.attn.qkv"] == 2 * tokens * 1024 * 3072
    assert flops["camera_head.trunk.0.mlp.fc1"] == 4 * 2 * 2 * 2048 * 8192, "four iterations over two camera tokens"
