"""Kernels in the place of quantized linears: who runs what, why not another, and what that makes of a result."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fgq_bench import api, cli
from fgq_bench.cards import Scalar
from fgq_bench.errors import UserError
from fgq_bench.kernels.cpu.int8 import CpuInt8
from fgq_bench.kernels.cuda.cutlass import CutlassInt8
from fgq_bench.kernels.fusion import fuse_producers
from fgq_bench.kernels.kernel import Codes, IntegerKernel, centred_weight
from fgq_bench.kernels.placement import SplitKernel, install
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import BACKENDS, Backend, find_backend
from fgq_bench.models.layers import Block
from fgq_bench.models.vggt import VGGT
from fgq_bench.models.workload import linear_flops
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.registry import find_method


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


SPLIT = ("flatquant", "fgq")  # methods that store q, k and v apart


def split(model: VGGT, method: str, manifest: Path, folder: Path) -> QuantizedModel:
    options: dict[str, Scalar] = {"epochs": 0} if "epochs" in find_method(method).options else {}
    return api.quantize(model, method, "w4a4", overrides=options, calibration=str(manifest), folder=folder)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("method", SPLIT)
def test_a_split_qkv_that_quantises_alike_is_one_kernel(
    micro: VGGT, method: str, manifest: Path, tmp_path: Path
) -> None:
    """Transforms equal by value suffice: a part may hold its own copy."""
    made = split(micro, method, manifest, tmp_path)
    separate = replace(made, linears={name: copy.deepcopy(linear) for name, linear in made.linears.items()})
    images = torch.rand(1, 2, 3, 56, 56)
    expected = separate.install(micro, execute)(images)
    small, placement = install(separate, micro, find_backend("cpu"))
    for name in {name.rpartition(".")[0] for name in made.linears if name.endswith("attn.q")}:
        qkv = small.get_submodule(f"{name}.qkv")
        assert isinstance(qkv, CpuInt8) and qkv.out_features == 3 * qkv.in_features
    assert set(placement.seats) == set(made.linears) >= {"aggregator.frame_blocks.0.attn.q"}
    assert placement.summary(linear_flops(micro, 1, (56, 56)))["quantisers"] == {"fused": 0, "separate": 4 * 8}
    found = small(images)
    assert torch.equal(found.depth, expected.depth) and torch.equal(found.pose_enc, expected.pose_enc)


@pytest.mark.usefixtures("eager")
def test_parts_with_grids_of_their_own_stay_apart_and_are_transformed_once(
    micro: VGGT, manifest: Path, tmp_path: Path
) -> None:
    """A clip of its own on one part gives other codes: three products, on one transformed input."""
    quantized = split(micro, "flatquant", manifest, tmp_path)
    for name, linear in quantized.linears.items():
        if name.endswith("attn.k"):
            linear.act_clip = torch.tensor([0.5, 0.5])
    small, _ = install(quantized, micro, find_backend("cpu"))
    qkv = small.get_submodule("aggregator.frame_blocks.0.attn.qkv")
    assert isinstance(qkv, SplitKernel)
    calls = []
    qkv.q.transforms[0].register_forward_hook(lambda *_: calls.append(1))
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


def test_preferred_kernels_are_left_out_with_their_reason(micro: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    made = api.quantize(micro, "rtn", "w4a4")
    backend = Backend("both", "", ("cpu.int8:CpuInt8",), ("cpu.weight_only:CpuInt4Weight", "cuda.cutlass:CutlassInt8"))
    monkeypatch.setattr(CutlassInt8, "missing", lambda: "no nvcc")
    assert [kernel.name for kernel in backend.load("cpu")] == ["cpu-int4-weight", "cpu-int8"]
    assert backend.state() == "yes; without cutlass-int8: no nvcc"
    _, placement = install(made, micro, backend)
    summary = placement.summary(linear_flops(micro, 1, (56, 56)))
    assert summary["kernels"] == {"cpu-int8": 32} and summary["refusals"]["cutlass-int8: no nvcc"] == 32


def test_a_kernel_that_cannot_be_built_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuInt8, "prepare", lambda: "its build failed")
    optional = Backend("both", "", ("cpu.weight_only:CpuInt4Weight",), ("cpu.int8:CpuInt8",))
    assert [kernel.name for kernel in optional.load("cpu")] == ["cpu-int4-weight"]
    with pytest.raises(UserError, match="backend alone cannot run here: its build failed"):
        Backend("alone", "", ("cpu.int8:CpuInt8",)).load("cpu")


def test_every_backend_can_be_imported_and_listed() -> None:
    for backend in BACKENDS.values():
        assert len(backend.classes()) == len(backend.kernels) + len(backend.preferred)
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
