"""Matrix kernels against plain formulas: integer sums exactly, outputs to the bit, float sums within rounding."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from fgq_bench.kernels import reference
from fgq_bench.quant.grid import dequantize
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme

pytest.importorskip("triton", reason="the Triton kernels need triton (pip install fgq-bench[gpu])")
from fgq_bench.kernels.triton import splitting
from fgq_bench.kernels.triton.dequantize import dequantize_int4, dequantize_int8
from fgq_bench.kernels.triton.expand import expand_int4
from fgq_bench.kernels.triton.int4_gemm import int4_linear, int4_sums
from fgq_bench.kernels.triton.int8_gemm import int8_linear, int8_sums
from fgq_bench.kernels.triton.packing import pack_int4, unpack_int4
from fgq_bench.kernels.triton.weight_only import weight_only_linear

SIZES = [(1, 16, 16), (3, 48, 192), (17, 80, 576), (65, 144, 272), (130, 4080, 64)]  # tokens, channels, columns
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def integers(*shape: int, bits: int = 8) -> Tensor:
    return torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), shape, dtype=torch.int8)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("bits", [8, 4])
def test_sums_are_exact(size: tuple[int, int, int], bits: int, device: torch.device) -> None:
    tokens, channels, width = size
    codes, weight = integers(tokens, width), integers(channels, width, bits=bits)
    exact = codes.long() @ weight.long().T
    assert torch.equal(int8_sums(codes.to(device), weight.to(device)).cpu().long(), exact)
    if bits == 4:
        assert torch.equal(int4_sums(codes.to(device), pack_int4(weight).to(device)).cpu().long(), exact)


@pytest.mark.parametrize(("code", "weight"), [*itertools.product([-128, 127], [-128, 127, -8, 7]), (-8, -8), (7, -8)])
def test_extreme_codes_do_not_overflow(code: int, weight: int, device: torch.device) -> None:
    width = 8192
    codes = torch.full((1, width), code, dtype=torch.int8, device=device)
    weights = torch.full((16, width), weight, dtype=torch.int8, device=device)
    assert (int8_sums(codes, weights) == width * code * weight).all()
    if weight in (-8, 7):
        assert (int4_sums(codes, pack_int4(weights)) == width * code * weight).all()


@pytest.mark.parametrize("size", SIZES[:4], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
def test_integer_outputs_equal_the_formula(
    size: tuple[int, int, int], dtype: torch.dtype, biased: bool, device: torch.device
) -> None:
    tokens, channels, width = size
    codes, weight = integers(tokens, width), integers(channels, width, bits=4)
    scale, weight_scale = torch.rand(tokens) / 100, torch.rand(channels)
    bias = torch.randn(channels) if biased else None
    y = (codes.long() @ weight.long().T).float() * weight_scale * scale[:, None]
    y = (y if bias is None else y + bias).to(dtype)
    rest = (weight_scale.to(device), None if bias is None else bias.to(device), dtype)
    codes, scale, weight = codes.to(device), scale.to(device), weight.to(device)
    assert torch.equal(int8_linear(codes, scale, weight, *rest).cpu(), y)
    assert torch.equal(int4_linear(codes, scale, pack_int4(weight), *rest).cpu(), y)


@pytest.mark.parametrize("text", ["w8a8", "w4a8", "w4a4", "w4a4-aasym", "w4a8-wasym"])
def test_equal_the_reference_backend(text: str, device: torch.device) -> None:
    linear = QuantLinear.from_float(torch.randn(48, 192), torch.randn(48), Scheme.parse(text))
    x = torch.randn(17, 192)
    codes, scale = reference.input_codes(x, linear)
    assert linear.weight_scale is not None and linear.bias is not None
    weight = linear.codes if linear.weight_zero is None else linear.codes - linear.weight_zero
    moved = (weight.to(device), linear.weight_scale[:, 0].to(device), linear.bias.to(device))
    codes, scale = codes.to(device, torch.int8), scale[:, 0].to(device)
    truth = reference.multiply(x, linear)
    assert torch.equal(int8_linear(codes, scale, *moved, torch.float32).cpu(), truth)
    if linear.weight_zero is None and linear.scheme.weight_bits == 4:
        packed = pack_int4(linear.codes).to(device)
        assert torch.equal(int4_linear(codes, scale, packed, *moved[1:], torch.float32).cpu(), truth)


def grid(channels: int, width: int, group_size: int | None, zeros: bool) -> tuple[Tensor, Tensor | None]:
    groups = width // (group_size or width)
    scale = torch.rand(groups, channels).T / 10  # stored by group, as a backend would for coalesced reads
    return scale, integers(channels, groups, bits=4) if zeros else None


def weight_of(codes: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    rows = codes.unflatten(1, (scale.shape[1], -1))
    return dequantize(rows, scale[..., None], None if zero is None else zero[..., None]).flatten(1)


@pytest.mark.parametrize("group_size", [None, 16, 32, 64, 128])
@pytest.mark.parametrize("zeros", [True, False], ids=["asymmetric", "symmetric"])
def test_dequantized_weight_equals_the_formula(group_size: int | None, zeros: bool, device: torch.device) -> None:
    codes = integers(48, 384, bits=4)
    scale, zero = grid(48, 384, group_size, zeros)
    moved = (scale.to(device), None if zero is None else zero.to(device))
    for dtype in DTYPES:
        truth = weight_of(codes, scale, zero).to(dtype)
        assert torch.equal(dequantize_int4(pack_int4(codes).to(device), *moved, 384, group_size, dtype).cpu(), truth)
        assert torch.equal(dequantize_int8(codes.to(device), *moved, group_size, dtype).cpu(), truth)


@pytest.mark.parametrize(
    ("dtype", "programs"), [(torch.bfloat16, 256), (torch.float16, 256), (torch.float16, 1)], ids=str
)
@pytest.mark.parametrize(
    ("size", "group_size", "bits", "zeros"),
    [
        ((1, 48, 384), 128, 4, False),
        ((3, 16, 384), 128, 4, True),
        ((17, 80, 192), 64, 4, True),
        ((17, 48, 192), 32, 4, False),
        ((65, 48, 272), 16, 4, True),
        ((3, 80, 576), None, 4, True),
        ((17, 48, 272), None, 8, True),
        ((3, 48, 384), 128, 8, True),
        ((2, 48, 272), 16, 2, True),
    ],
    ids=str,
)
def test_weight_only_equals_the_formula(
    size: tuple[int, int, int], group_size: int | None, bits: int, zeros: bool,
    dtype: torch.dtype, programs: int, device: torch.device, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(splitting, "PROGRAMS", programs)
    monkeypatch.setattr(splitting, "LEAST", 1)
    tokens, channels, width = size
    x, codes, bias = torch.randn(tokens, width).to(dtype), integers(channels, width, bits=bits), torch.randn(channels)
    scale, zero = grid(channels, width, group_size, zeros)
    truth = x.double() @ weight_of(codes, scale, zero).double().T + bias
    error = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-11
    rest = (scale.to(device), None if zero is None else zero.to(device), bias.to(device), group_size)
    stored = {False: codes} | ({True: pack_int4(codes)} if bits == 4 else {})
    for packed, weight in stored.items():
        y = weight_only_linear(x.to(device), weight.to(device), *rest, packed=packed).cpu()
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), truth, rtol=error, atol=1e-3)


def test_columns_are_split_where_a_program_has_enough_to_read() -> None:
    """VGGT's linears at one token, in bytes of a packed row: qkv has tiles enough, proj is too short, fc2 is split."""
    assert [splitting.split(*shape) for shape in ((512, 128, 96), (512, 128, 32), (2048, 128, 32))] == [
        (512, 1), (512, 1), (512, 4),
    ]  # fmt: skip


def test_weight_only_of_many_tokens(device: torch.device) -> None:
    """The largest tile, over several token tiles and a channel tile that is not full."""
    x, codes, scale = torch.randn(130, 64).half(), integers(4112, 64, bits=4), torch.rand(4112, 1)
    y = weight_only_linear(x.to(device), pack_int4(codes).to(device), scale.to(device), None, None).cpu()
    truth = x.double() @ weight_of(codes, scale, None).double().T
    torch.testing.assert_close(y.double(), truth, rtol=2.0**-11, atol=1e-3)


def test_packing_keeps_every_code() -> None:
    codes = integers(16, 272, bits=4)
    packed = pack_int4(codes)
    assert packed.shape == (16, 256)
    assert torch.equal(unpack_int4(packed, 272), codes)
    assert packed[0, 5] == (int(codes[0, 5]) & 15) | (int(codes[0, 133]) & 15) << 4


@pytest.mark.parametrize("columns", [256, 272, 16])
def test_expanded_codes_are_the_packed_ones(columns: int, device: torch.device) -> None:
    codes = integers(48, columns, bits=4)
    assert torch.equal(expand_int4(pack_int4(codes).to(device), columns).cpu(), codes)


def test_no_tokens_give_no_rows(device: torch.device) -> None:
    codes, weight = integers(0, 32).to(device), integers(16, 32).to(device)
    scale, bias = torch.rand(16, device=device), torch.rand(16, device=device)
    assert int8_linear(codes, scale[:0], weight, scale, bias, torch.bfloat16).shape == (0, 16)
    x = torch.zeros(0, 32, dtype=torch.bfloat16, device=device)
    assert weight_only_linear(x, weight, scale[:, None], None, bias, packed=False).shape == (0, 16)


def test_errors_tell_what_is_wrong() -> None:
    codes, scale = integers(3, 32), torch.rand(16)
    with pytest.raises(ValueError, match=r"multiples of 16.*17 x 32"):
        int8_sums(codes, integers(17, 32))
    with pytest.raises(ValueError, match=r"multiples of 16.*16 x 24"):
        int8_sums(integers(3, 24), integers(16, 24))
    with pytest.raises(ValueError, match=r"weight must be torch.int8 \[16, 32\], not torch.int16"):
        int8_sums(codes, integers(16, 32).short())
    with pytest.raises(ValueError, match=r"codes must be a matrix.*\[1, 3, 32\]"):
        int8_sums(codes[None], integers(16, 32))
    with pytest.raises(ValueError, match="codes must be contiguous"):
        int8_sums(integers(32, 3).T, integers(16, 32))
    with pytest.raises(ValueError, match="overflow"):
        int8_sums(torch.zeros(1, 131072, dtype=torch.int8), torch.zeros(16, 131072, dtype=torch.int8))
    with pytest.raises(ValueError, match="outputs are"):
        int8_linear(codes, scale[:3], integers(16, 32), scale, None, torch.int32)
    with pytest.raises(ValueError, match=r"packed must be torch.uint8 \[16, 128\]"):
        int4_sums(codes, torch.zeros(16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"lie in -8\.\.7"):
        pack_int4(torch.full((16, 32), 8, dtype=torch.int8))
    for group_size in (24, 48, 0):
        with pytest.raises(ValueError, match="group size"):
            weight_only_linear(codes.half(), integers(16, 32), scale[:, None], None, None, group_size, packed=False)
    with pytest.raises(ValueError, match=r"weight_scale must be torch.float32 \[16, 2\]"):
        weight_only_linear(codes.half(), integers(16, 32), scale[:, None], None, None, 16, packed=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_kernels_run_under_cuda_graphs(device: torch.device) -> None:
    codes, weight = integers(17, 512).to(device), integers(48, 512, bits=4).to(device)
    x, scale = codes.bfloat16(), torch.rand(48, device=device)
    packed = pack_int4(weight)

    def run() -> list[Tensor]:
        return [
            int8_linear(codes, scale[:17], weight, scale, None, torch.bfloat16),
            int4_linear(codes, scale[:17], packed, scale, None, torch.bfloat16),
            weight_only_linear(x, packed, scale[:, None], None, None),
        ]

    eager = run()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(eager, captured, strict=True))
