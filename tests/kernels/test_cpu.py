"""CPU kernels, compiled as users run them, against the reference: codes, sums and outputs are equal."""

from __future__ import annotations

import pytest
import torch

from fgq_bench.kernels.cpu import int8
from fgq_bench.kernels.cpu.int8 import CpuInt8
from fgq_bench.kernels.cpu.weight_only import FEW_TOKENS, CpuInt4Weight, pack_halves, unpack_halves
from fgq_bench.kernels.reference import execute, input_codes
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Hadamard, Kronecker, Transform

SHAPES = [(1, 64, 48), (3, 192, 576), (41, 768, 192), (17, 4096, 64)]  # tokens, in, out
INTEGER = ["w8a8", "w4a8", "w4a4", "w3a6", "w2a2", "w4a4-aasym", "w4a4-wasym", "w4a4-atensor", "w6a6-wasym-aasym"]
WEIGHT_ONLY = ["w4a16", "w4a16g64", "w4a16g32-wasym", "w3a16g16", "w2a16"]
VNNI = torch.cpu._is_vnni_supported()


def layer(text: str, width: int, out: int, clipped: bool = False) -> QuantLinear:
    clip = torch.tensor([0.7, 0.9]) if clipped else None
    return QuantLinear.from_float(torch.randn(out, width), torch.randn(out), Scheme.parse(text), act_clip=clip)


@pytest.mark.parametrize("text", INTEGER)
@pytest.mark.parametrize(("tokens", "width", "out"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_int8_codes_sums_and_outputs_equal_the_reference(
    text: str, tokens: int, width: int, out: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    linear = layer(text, width, out, clipped=text == "w4a4")
    if not VNNI and int8.saturates(linear.scheme):
        pytest.skip("this processor has no VNNI")
    assert CpuInt8.refusal(linear) is None
    kernel, x = CpuInt8(linear), 3 * torch.randn(2, tokens, width).to(dtype)
    codes, (truth, scale) = kernel.quantize(x, dtype), input_codes(x.float(), linear)
    assert codes.values.dtype == torch.uint8
    assert torch.equal(codes.values.float() - kernel.offset_of_codes, truth)
    assert torch.equal(codes.scale, scale)
    weight = linear.codes.double() - (0 if linear.weight_zero is None else linear.weight_zero.double())
    assert torch.equal(kernel.accumulate(codes), (truth.double() @ weight.T).float())
    assert torch.equal(kernel(x), execute(x, linear))


@pytest.mark.parametrize("transform", ["diagonal", "hadamard", "kronecker", "left", "right", "two"])
@pytest.mark.parametrize("text", ["w4a4", "w4a16g64"])
def test_online_transforms_equal_the_reference(text: str, transform: str) -> None:
    torch.manual_seed(0)
    a, b = torch.linalg.qr(torch.randn(12, 12))[0], torch.linalg.qr(torch.randn(16, 16))[0]
    diagonal = Diagonal(torch.rand(192) + 0.5)
    hadamard = Hadamard.random(192, torch.Generator().manual_seed(0))
    every: dict[str, list[Transform]] = {
        "diagonal": [diagonal], "hadamard": [hadamard], "kronecker": [Kronecker(a, b)], "left": [Kronecker(a, None)],
        "right": [Kronecker(None, b)], "two": [diagonal, hadamard],
    }  # fmt: skip
    linear = QuantLinear.from_float(torch.randn(64, 192), None, Scheme.parse(text), transforms=every[transform])
    kernel = CpuInt8 if linear.scheme.quantizes_activations else CpuInt4Weight
    x = torch.randn(2, 5, 192).bfloat16().float()
    assert torch.equal(kernel(linear)(x), execute(x, linear))


def test_static_scales_are_used() -> None:
    linear = layer("w4a8-astatic", 64, 16)
    linear.act_scale = torch.rand(5) + 0.1
    x = torch.randn(1, 10, 64)
    assert torch.equal(CpuInt8(linear)(x), execute(x, linear))


@pytest.mark.parametrize("text", WEIGHT_ONLY)
@pytest.mark.parametrize(("tokens", "width", "out"), [(1, 64, 48), (3, 192, 576), (41, 768, 192)])
def test_unpacked_weights_and_outputs(text: str, tokens: int, width: int, out: int) -> None:
    torch.manual_seed(0)
    linear = layer(text, width, out)
    assert CpuInt4Weight.refusal(linear) is None
    kernel, x = CpuInt4Weight(linear), torch.randn(tokens, width)
    assert torch.equal(kernel.weight(torch.float32), linear.dequantized_weight())
    assert torch.equal(kernel(x), execute(x, linear))
    rounded, exact = kernel(x.bfloat16()).float(), execute(x.bfloat16().float(), linear)
    assert (rounded - exact).abs().amax() / exact.abs().amax() < 0.02  # weights and outputs have 8 bits of mantissa


@pytest.mark.parametrize("text", ["w4a16", "w4a16g64", "w4a16g32-wasym"])
def test_few_tokens_take_the_int4_product(text: str) -> None:
    torch.manual_seed(0)
    kernel, x = CpuInt4Weight(layer(text, 256, 64)), torch.randn(FEW_TOKENS, 256).bfloat16()
    assert kernel.few is not None
    few, many = kernel(x), kernel(torch.cat([x, x]))[:FEW_TOKENS]
    assert not torch.equal(few, many), "both ran the same product"
    assert (few - many).abs().amax() / many.abs().amax() < 0.02


def test_packing_loses_nothing() -> None:
    codes = torch.randint(-8, 8, (6, 3, 10), dtype=torch.int8)
    ones = torch.ones(6, 3)
    assert torch.equal(unpack_halves(pack_halves(codes), ones, 8 * ones, torch.float32), codes.flatten(1).float())


@pytest.mark.parametrize(
    ("kernel", "text", "reason"),
    [
        (CpuInt8, "w4a16", "weights and inputs must both be integers"),
        (CpuInt8, "w4a4g16", "not per group of 16"),
        (CpuInt8, "w4a8-aasym", "asymmetric 8-bit inputs do not fit a byte"),
        (CpuInt8, "w8a4-wasym", "asymmetric 8-bit weights do not fit a byte"),
        (CpuInt4Weight, "w4a4", "inputs must be float"),
        (CpuInt4Weight, "w8a16", "at most 4 bits, not 8"),
    ],
)
def test_refusals_say_why(kernel: type[CpuInt8 | CpuInt4Weight], text: str, reason: str) -> None:
    if not VNNI and int8.saturates(Scheme.parse(text)):
        pytest.skip("this processor has no VNNI, which is the reason then")
    assert reason in (kernel.refusal(layer(text, 64, 16)) or "")


def test_wide_codes_are_refused_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert "has no VNNI" in (CpuInt8.refusal(layer("w8a8", 64, 16)) or "")
    assert CpuInt8.refusal(layer("w4a4", 64, 16)) is None
