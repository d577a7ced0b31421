"""The CUDA backends' kernels as the models meet them (on a GPU, else interpreted), against the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton", reason="the Triton kernels need triton (pip install fgq-bench[gpu])")

from fgq_bench.kernels.cuda.cutlass import CutlassInt4, CutlassInt8, OnCutlass
from fgq_bench.kernels.cuda.int4 import CudaInt4
from fgq_bench.kernels.cuda.int8 import CudaInt8
from fgq_bench.kernels.cuda.weight_only import CudaInt4Weight
from fgq_bench.kernels.cutlass import int8_gemm
from fgq_bench.kernels.kernel import Codes, IntegerKernel
from fgq_bench.kernels.reference import execute, input_codes
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Hadamard, Kronecker, Transform

WIDTH, OUT = 192, 48


def layer(text: str, device: torch.device, transforms: list[Transform] | None = None) -> QuantLinear:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(OUT, WIDTH, generator=generator), torch.randn(OUT, generator=generator)
    clip = torch.tensor([0.7, 0.9]) if text == "w4a4" else None
    made = QuantLinear.from_float(weight, bias, Scheme.parse(text), transforms=transforms or [], act_clip=clip)
    return made.to(device)


def inputs(device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (3 * torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))).to(device, dtype)


@pytest.mark.parametrize(
    ("kernel", "text"),
    [(CudaInt8, "w8a8"), (CudaInt8, "w4a4"), (CudaInt8, "w4a8-astatic"), (CudaInt8, "w4a4-aasym"), (CudaInt8, "w4a4-atensor"),
     (CudaInt4, "w4a4"), (CudaInt4, "w4a8"), (CudaInt4, "w3a6"), (CudaInt4, "w2a2-wasym")],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_integer_layers_equal_the_reference(
    device: torch.device, kernel: type[CudaInt8], text: str, dtype: torch.dtype
) -> None:
    linear, x = layer(text, device), inputs(device, dtype)
    if linear.scheme.has_static_inputs:
        linear.act_scale = torch.rand(5, device=device) + 0.1
    assert kernel.refusal(linear) is None
    placed = kernel(linear)
    codes, (truth, _) = placed.quantize(x, dtype), input_codes(x.float(), linear)
    assert torch.equal(codes.values.float(), truth)
    weight = linear.codes.double() - (0 if linear.weight_zero is None else linear.weight_zero.double())
    assert torch.equal(placed.accumulate(codes).double(), truth.double() @ weight.T)
    found, expected = placed(x), execute(x, linear)
    assert found.dtype == dtype
    if dtype == torch.float32:
        assert torch.equal(found, expected)
    else:  # Triton's interpreter cuts bf16 off instead of rounding it
        assert ((found.float() - expected.float()).abs() <= expected.float().abs() * 2**-7).all()


@pytest.mark.parametrize(("kernel", "text"), [(CutlassInt8, "w8a8"), (CutlassInt4, "w4a4"), (CutlassInt4, "w4a8")])
def test_cutlass_multiplies_many_tokens_and_triton_few(
    device: torch.device, kernel: type[OnCutlass], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is replaced by the formula; what it is handed are codes of one byte."""
    calls: list[torch.Size] = []

    def product(codes: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor, dtype: Any) -> Tensor:
        calls.append(codes.shape)
        assert weight.dtype == torch.int8 and weight.shape == (OUT, WIDTH)
        return ((codes.double() @ weight.double().T).float() * weight_scale * scale[:, None] + bias).to(dtype)

    monkeypatch.setattr(int8_gemm, "int8_linear", product)
    linear, x = layer(text, device), inputs(device)
    placed = kernel(linear)
    assert torch.equal(placed(x), execute(x, linear)) and not calls
    monkeypatch.setattr(kernel, "few_tokens", 9)
    assert torch.equal(placed(x), execute(x, linear)) and calls == [(10, WIDTH)]
    half = placed.quantize(x.half(), torch.float16)
    assert placed.multiply(half).dtype == torch.float16 and len(calls) == 1, "no such output: Triton's"


@pytest.mark.parametrize("kind", ["hadamard", "kronecker", "scaled", "behind"])
@pytest.mark.parametrize("text", ["w4a4", "w8a8", "w4a16g64"])
def test_transforms_run_inside_the_quantiser(device: torch.device, kind: str, text: str) -> None:
    generator = torch.Generator().manual_seed(2)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for n in (12, 16))
    scale, mixed = Diagonal(torch.rand(WIDTH, generator=generator) + 0.5), Kronecker(left, right)
    transforms: dict[str, list[Transform]] = {
        "hadamard": [Hadamard.random(WIDTH, generator)], "kronecker": [mixed], "scaled": [scale, mixed], "behind": [mixed, scale],
    }  # fmt: skip
    linear, x = layer(text, device, transforms[kind]), inputs(device)
    placed = CudaInt8(linear) if linear.scheme.quantizes_activations else CudaInt4Weight(linear)
    if isinstance(placed, IntegerKernel):
        assert placed.transformed(x) is x
        codes, (truth, _) = placed.quantize(x, x.dtype), input_codes(linear.transformed(x), linear)
        assert (codes.values.float() != truth).float().mean() <= 1e-3
    expected = execute(x, linear)
    assert (placed(x) - expected).abs().amax() / expected.abs().amax() < 0.02


@pytest.mark.parametrize("text", ["w4a16", "w4a16g16", "w4a16g64-wasym", "w3a16g32"])
@pytest.mark.parametrize("tokens", [3, 300])
def test_weight_only_layers(device: torch.device, text: str, tokens: int) -> None:
    linear = layer(text, device)
    assert CudaInt4Weight.refusal(linear) is None
    x = torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(1)).to(device, torch.bfloat16)
    placed, expected = CudaInt4Weight(linear), execute(x.float(), linear)
    assert torch.equal(placed.weight(torch.float32), linear.dequantized_weight())
    assert (placed(x).float() - expected).abs().amax() / expected.abs().amax() < 0.02


@pytest.mark.parametrize("scaled", [False, True])
def test_producers_emit_the_codes_of_the_layer_behind(device: torch.device, scaled: bool) -> None:
    scale = [Diagonal(torch.rand(WIDTH) + 0.5)] if scaled else []
    placed, x = CudaInt4(layer("w4a4", device, [*scale])), inputs(device, torch.bfloat16)
    norm = nn.LayerNorm(WIDTH).to(device, torch.bfloat16)
    nn.init.normal_(norm.weight)
    for producer in (norm, nn.GELU()):
        fused = placed.fused_with(producer)
        assert fused is not None
        codes = fused(x)
        assert isinstance(codes, Codes)
        separate = placed.quantize(placed.transformed(producer(x)), x.dtype)
        assert (codes.values != separate.values).float().mean() < 2e-3
        assert torch.equal(placed(codes), placed.multiply(codes))
        assert placed(codes).dtype == torch.bfloat16
    assert placed.fused_with(nn.Identity()) is None
    assert CudaInt4(layer("w4a4", device, [Hadamard.random(WIDTH, torch.Generator())])).fused_with(norm) is None


@pytest.mark.parametrize(
    ("kernel", "text", "reason"),
    [
        (CudaInt8, "w4a4g16", "not per group of 16"),
        (CudaInt4, "w8a8", "at most 4 bits"),
        (CudaInt4, "w4a4-wasym", "centred weight codes of at most 4 bits"),
        (CudaInt4Weight, "w4a4", "inputs must be float"),
        (CudaInt4Weight, "w4a16g96", "weight groups of 16, 32, 64, 128, not 96"),
    ],
)
def test_refusals_say_why(kernel: type[CudaInt8 | CudaInt4Weight], text: str, reason: str) -> None:
    assert reason in (kernel.refusal(layer(text, torch.device("cpu"))) or "")
