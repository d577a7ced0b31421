"""Peer backends without a GPU: what they refuse, and that our codes reach a library in the layout it documents.

The libraries are replaced by small modules that take the same arguments and multiply in plain torch.
"""

from __future__ import annotations

import sys
from enum import Enum
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.kernels import peers
from fgq_bench.kernels.cuda.int8 import CudaInt8
from fgq_bench.kernels.kernel import Kernel
from fgq_bench.kernels.peers import torchao as torchao_kernel
from fgq_bench.kernels.peers.gemlite import GemliteInt8, GemliteWeight
from fgq_bench.kernels.peers.torch_int8 import TorchInt8
from fgq_bench.kernels.peers.torchao import Torchao
from fgq_bench.kernels.reference import execute, input_codes
from fgq_bench.kernels.registry import BACKENDS, PEERS, find_backend
from fgq_bench.latency.cases import layer_cases
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme

INTEGER = ["w8a8", "w4a8", "w4a4", "w4a8-wasym", "w4a4-aasym", "w4a4-atensor"]


def layer(text: str, width: int = 128, out: int = 64, clip: Tensor | None = None, bias: bool = True) -> QuantLinear:
    torch.manual_seed(0)
    weight = torch.randn(out, width) + 0.3
    return QuantLinear.from_float(weight, torch.randn(out) if bias else None, Scheme.parse(text), act_clip=clip)


def inputs(tokens: int, dtype: torch.dtype = torch.float32, width: int = 128) -> Tensor:
    return torch.randn(2, tokens, width, generator=torch.Generator().manual_seed(1)).to(dtype)


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order of fp32 sums; in bf16 but for the library's two roundings, before and after the bias."""
    if found.dtype == torch.bfloat16:
        torch.testing.assert_close(found, expected, rtol=0, atol=2**-7 * float(expected.abs().max()))
    else:
        torch.testing.assert_close(found, expected)


@pytest.fixture
def plain_quantiser(monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    """The reference's quantiser in the place of the Triton one, and nothing compiled."""
    monkeypatch.setattr(CudaInt8, "is_plain", False)


# Stand-ins ---------------------------------------------------------------------------------------------------------


class FakeDType(Enum):
    FP32, FP16, BF16, INT8 = range(4)


TORCH_TO_DTYPE = {torch.float32: FakeDType.FP32, torch.float16: FakeDType.FP16, torch.bfloat16: FakeDType.BF16}
TO_TORCH = {value: key for key, value in TORCH_TO_DTYPE.items()}


class FakeGemLiteLinear(nn.Module):
    """Arguments and meaning of gemlite 0.6's ``GemLiteLinear``: W = (W_q - zeros) * scales, groups along the input."""

    def __init__(
        self, W_nbits: int, group_size: int, in_features: int, out_features: int, input_dtype: FakeDType,
        output_dtype: FakeDType, acc_dtype: FakeDType | None = None, scaled_activations: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        assert in_features % 32 == 0 and in_features % group_size == 0 and acc_dtype is None
        self.bits, self.group_size, self.sizes = W_nbits, group_size, (out_features, in_features)
        self.input_dtype, self.output_dtype, self.scaled = input_dtype, output_dtype, scaled_activations

    def pack(
        self, W_q: Tensor, scales: Tensor, zeros: Tensor | int | None, bias: Tensor | None = None, fma_mode: bool = True
    ) -> FakeGemLiteLinear:
        out, width = self.sizes
        assert W_q.shape == self.sizes and scales.shape == (out, width // self.group_size)
        assert scales.dtype == torch.float32, "anything shorter would round our scales"
        if self.input_dtype == FakeDType.INT8:
            assert W_q.dtype == torch.int8 and self.bits == 8 and zeros is None and self.scaled
            centred = W_q.float()
        else:
            assert W_q.dtype == torch.uint8 and W_q.max() < 2**self.bits and zeros is not None and not fma_mode
            shift = torch.full_like(scales, zeros) if isinstance(zeros, int) else zeros.view_as(scales)
            centred = W_q.float() - shift.repeat_interleave(self.group_size, 1)
        self.weight, self.bias = centred * scales.repeat_interleave(self.group_size, 1), bias
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.scaled:
            scale = (x.float().abs().amax(-1, keepdim=True) / 127).clamp(min=1e-6)
            x = (x.float() / scale).round() * scale
        else:
            assert x.dtype == TO_TORCH[self.input_dtype]
        y = F.linear(x.float(), self.weight).to(TO_TORCH[self.output_dtype])
        return y if self.bias is None else y.add_(self.bias)


def fake_int_scaled_matmul(a: Tensor, b: Tensor, scales1: Tensor) -> Tensor:
    """As ``torchao.kernel.int_scaled_matmul`` (0.18), with what the product under it asks for on CUDA."""
    assert a.dtype == b.dtype == torch.int8 and a.is_contiguous() and b.t().is_contiguous()
    assert len(a) > 16 and scales1.shape == (len(a), 1) and scales1.is_contiguous()
    return (a.double() @ b.double()).float() * scales1


def stub(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def gemlite(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, "gemlite", DType=FakeDType, GemLiteLinear=FakeGemLiteLinear)
    stub(monkeypatch, "gemlite.dtypes", TORCH_TO_DTYPE=TORCH_TO_DTYPE)


# What is refused, and when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "linear", "reason"),
    [
        (TorchInt8, layer("w4a4g32"), "not per group of 32"),
        (TorchInt8, layer("w4a16"), "weights and inputs must both be integers"),
        (TorchInt8, layer("w8a8", 120), "widths must be multiples of 16, not 120 and 64"),
        (Torchao, layer("w8a8-wasym"), "centred codes of asymmetric 8-bit weights do not fit a byte"),
        (GemliteInt8, layer("w8a4"), "inputs on a symmetric grid of 8 bits"),
        (GemliteInt8, layer("w8a8-aasym"), "inputs on a symmetric grid of 8 bits"),
        (GemliteInt8, layer("w8a8-astatic"), "one scale per token, unclipped"),
        (GemliteInt8, layer("w8a8-atensor"), "one scale per token, unclipped"),
        (GemliteInt8, layer("w8a8", clip=torch.ones(2)), "one scale per token, unclipped"),
        (GemliteInt8, layer("w8a8", 144), "widths must be multiples of 32, not 144 and 64"),
        (GemliteInt8, layer("w8a8-wasym"), "asymmetric 8-bit weights do not fit a byte"),
        (GemliteInt8, layer("w4a8g32"), "not per group of 32"),
        (GemliteWeight, layer("w4a8"), "inputs must be float and weights integer"),
        (GemliteWeight, layer("w8a16"), "weights of at most 4 bits, not 8"),
        (GemliteWeight, layer("w4a16g16"), "weight groups of 32, 64, 128, not 16"),
        (GemliteWeight, layer("w4a16", 128, 48), "widths must be multiples of 32, not 128 and 48"),
    ],
    ids=lambda value: str(getattr(value, "name", getattr(value, "scheme", ""))),
)
def test_refusals_name_their_reason(kernel: type[Kernel], linear: QuantLinear, reason: str) -> None:
    assert reason in str(kernel.refusal(linear))


@pytest.mark.parametrize("name", PEERS)
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("fgq_bench.kernels.cuda.int8.find_spec", lambda _: object())
    monkeypatch.setattr(peers, "find_spec", lambda _: object())
    assert find_backend(name).missing() == "no CUDA device"
    if name != "torch-int8":
        monkeypatch.setattr(peers, "find_spec", lambda _: None)
        assert find_backend(name).missing() == f"{name} is not installed: pip install {name}"


def test_torchao_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchao_kernel, "missing_library", lambda _: None)
    monkeypatch.setattr(torchao_kernel, "cpp_compiler", lambda: None)
    assert str(Torchao.missing()).startswith("no C++ compiler")


def test_backends_are_imported_without_their_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("gemlite", "torchao"):
        monkeypatch.setitem(sys.modules, library, None)  # importing it raises
        monkeypatch.delitem(sys.modules, f"fgq_bench.kernels.peers.{library}")
    names = [kernel.name for peer in PEERS for kernel in BACKENDS[peer].classes()]
    assert names == ["torch-int8", "gemlite-int8", "gemlite-int4-weight", "torchao"]


# What arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", INTEGER)
@pytest.mark.parametrize("tokens", [1, 5, 8, 9, 20])
@pytest.mark.usefixtures("plain_quantiser")
def test_torch_int8_equals_the_reference(text: str, tokens: int) -> None:
    linear, x = layer(text), inputs(tokens)
    assert TorchInt8.refusal(linear) is None
    kernel = TorchInt8(linear)
    codes, (truth, _) = kernel.quantize(x, torch.float32), input_codes(x, linear)
    weight = linear.codes.double() - (0 if linear.weight_zero is None else linear.weight_zero.double())
    assert torch.equal(kernel.accumulate(codes).double(), truth.double() @ weight.T)
    assert torch.equal(kernel(x), execute(x, linear))


@pytest.mark.parametrize("text", INTEGER)
@pytest.mark.parametrize("tokens", [1, 8, 9])
@pytest.mark.usefixtures("plain_quantiser")
def test_torchao_gets_our_codes_and_scales(monkeypatch: pytest.MonkeyPatch, text: str, tokens: int) -> None:
    stub(monkeypatch, "torchao")
    stub(monkeypatch, "torchao.kernel", int_scaled_matmul=fake_int_scaled_matmul)
    for linear in (layer(text), layer(text, bias=False)):
        torch.testing.assert_close(Torchao(linear)(inputs(tokens)), execute(inputs(tokens), linear))


@pytest.mark.parametrize("text", ["w8a8", "w4a8", "w4a8-wasym", "w2a8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.usefixtures("gemlite")
def test_gemlite_gets_our_8_bit_codes(text: str, dtype: torch.dtype) -> None:
    linear, x = layer(text), inputs(5, dtype)
    assert GemliteInt8.refusal(linear) is None
    assert_near(GemliteInt8(linear)(x), execute(x, linear))


@pytest.mark.parametrize("text", ["w4a16", "w4a16-wasym", "w4a16g64", "w4a16g32-wasym", "w3a16g128-wasym", "w2a16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.usefixtures("gemlite")
def test_gemlite_gets_our_4_bit_codes_and_zero_points(text: str, dtype: torch.dtype) -> None:
    linear, x = layer(text), inputs(5, dtype)
    assert GemliteWeight.refusal(linear) is None
    kernel = GemliteWeight(linear)
    if dtype == torch.float32:
        assert torch.equal(kernel.layer.weight, linear.dequantized_weight())
    assert_near(kernel(x), execute(x, linear))


# What is timed -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain_quantiser")
def test_peers_that_fit_are_timed_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    schemes = [Scheme.parse(text) for text in ("w8a8", "w4a16")]

    def variants() -> dict[str, Any]:
        case = next(layer_cases(64, [20], schemes, find_backend("cpu"), torch.device("cpu")))
        return case.build()

    assert not [name for name in variants() if name.endswith(PEERS)], "they run on CUDA"
    for kernel in (TorchInt8, GemliteInt8, GemliteWeight):
        monkeypatch.setattr(kernel, "device_type", "cpu")
        monkeypatch.setattr(kernel, "missing", lambda: None)
    found = {name: variant for name, variant in variants().items() if name.endswith(PEERS)}
    assert list(found) == ["w8a8 torch-int8", "w8a8 gemlite", "w4a16 gemlite"]
    assert [variant.integer for variant in found.values()] == [True, True, False]
    assert found["w8a8 torch-int8"].about["kernel"] == "torch-int8"
    result = found["w8a8 torch-int8"].call()
    assert isinstance(result, Tensor) and result.shape == (20, 192)
    monkeypatch.setitem(sys.modules, "gemlite", None)
    with pytest.raises(ImportError):
        found["w8a8 gemlite"].call()  # not before
