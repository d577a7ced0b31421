"""Per-token quantisation, alone and behind LayerNorm and GELU, against the reference grid."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.kernels.reference import input_codes
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal

pytest.importorskip("triton", reason="the Triton kernels need triton (pip install fgq-bench[gpu])")
from fgq_bench.kernels.triton import quantize
from fgq_bench.kernels.triton.hadamard import hadamard_quantize
from fgq_bench.kernels.triton.producers import gelu_quantize, layer_norm_quantize
from fgq_bench.kernels.triton.quantize import quantize_tokens

DTYPES = [torch.bfloat16, torch.float16, torch.float32]
CLIP = torch.tensor([0.7, 0.9])


def rows(tokens: int, width: int, dtype: torch.dtype) -> Tensor:
    """Random rows; the first ones are hard: zeros, one huge outlier, negative only, tiny."""
    torch.manual_seed(0)
    x = torch.randn(tokens, width)
    outlier = x[0].clone()
    outlier[3] = 3e4
    for row, values in enumerate([torch.zeros(width), outlier, -x[0].abs(), 1e-6 * x[0]][: tokens - 1]):
        x[row] = values
    return x.to(dtype)


def reference(x: Tensor, bits: int, clip: Tensor | None, diagonal: Tensor | None) -> tuple[Tensor, Tensor]:
    """Codes and scales of ``input_codes`` for ``x`` [M, K] of any type."""
    transforms = [] if diagonal is None else [Diagonal(diagonal)]
    weight = torch.ones(2, x.shape[1])
    linear = QuantLinear.from_float(weight, None, Scheme.parse(f"w8a{bits}"), transforms=transforms, act_clip=clip)
    codes, scale = input_codes(linear.transformed(x.float()), linear)
    return codes, scale[:, 0]


def run(function: Callable[..., tuple[Tensor, Tensor]], device: torch.device, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Codes and scales of ``function``, called where the kernels run."""
    moved = [argument.to(device) if isinstance(argument, Tensor) else argument for argument in arguments]
    codes, scales = function(*moved)
    return codes.cpu(), scales.cpu()


def assert_equal(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    assert found[0].dtype == torch.int8
    assert torch.equal(found[0].float(), expected[0])
    assert torch.equal(found[1], expected[1])


def limits(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


@pytest.mark.parametrize("clip", [None, CLIP], ids=["whole", "clipped"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("tokens", "width", "bits"), [(1, 192, 8), (3, 256, 4), (17, 768, 8), (5, 1024, 2), (2, 20, 6)]
)
def test_codes_and_scales_are_the_references(
    device: torch.device, tokens: int, width: int, bits: int, dtype: torch.dtype, clip: Tensor | None
) -> None:
    x, diagonal = rows(tokens, width, dtype), torch.rand(width) + 0.5
    for vector in (None, diagonal):
        found = run(quantize_tokens, device, x, *limits(bits), clip, vector)
        assert_equal(found, reference(x, bits, clip, vector))


def ties(highest: int) -> Tensor:
    """Rows whose quotients lie on or next to a half: the hardest ones to divide and to round."""
    torch.manual_seed(1)
    largest = 1 + torch.rand(32, 1)
    halves = torch.arange(-highest, highest) + 0.5
    near = halves * (largest / highest)
    steps = [near, *(torch.nextafter(near, torch.tensor(sign)) for sign in (-9.0, 9.0))]
    return torch.cat([largest, *steps], 1)


@pytest.mark.parametrize("fused", [False, True], ids=["interpreter's division", "device's division"])
def test_ties_round_half_to_even(device: torch.device, monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    """The device divides by residuals of fused multiply-adds, which float64 carries out (nearly) exactly."""
    if fused:
        if device.type == "cuda":
            pytest.skip("emulates on the CPU what the other case runs here")
        interpreter = pytest.importorskip("triton.runtime.interpreter")
        monkeypatch.setattr(quantize, "INTERPRETED", False)
        monkeypatch.setattr(interpreter.InterpreterBuilder, "create_fma", fused_multiply_add(interpreter))
    for highest in (127, 7, 31):
        x = ties(highest)
        assert_equal(
            run(quantize_tokens, device, x, -highest - 1, highest), reference(x, highest.bit_length() + 1, None, None)
        )


def fused_multiply_add(interpreter: ModuleType) -> Any:
    """An fma that rounds once, in the stead of the interpreter's, which rounds the product as well."""

    def fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
        exact = x.data.astype("float64") * y.data.astype("float64") + z.data.astype("float64")
        return interpreter.TensorHandle(exact.astype("float32"), x.dtype.scalar)

    return fma


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "width", "clip"), [(17, 192, None), (3, 768, CLIP), (1, 1024, None)], ids=str)
def test_layer_norm_is_fused(
    device: torch.device, tokens: int, width: int, clip: Tensor | None, dtype: torch.dtype
) -> None:
    """LayerNorm's own sums differ in their last bits, and a code at a tie may follow."""
    x = rows(tokens, width, dtype)
    weight, bias, diagonal = (torch.randn(width).to(dtype) for _ in range(3))
    codes, scale = run(layer_norm_quantize, device, x, weight, bias, 1e-5, -128, 127, clip, diagonal.float())
    normed = F.layer_norm(x.float(), (width,), weight.float(), bias.float(), 1e-5).to(dtype)
    assert_near((codes, scale), reference(normed, 8, clip, diagonal.float()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "width", "clip"), [(17, 192, None), (3, 768, CLIP), (1, 1024, None)], ids=str)
def test_gelu_is_fused(device: torch.device, tokens: int, width: int, clip: Tensor | None, dtype: torch.dtype) -> None:
    x, diagonal = rows(tokens, width, dtype), torch.rand(width) + 0.5
    found = run(gelu_quantize, device, x, -8, 7, clip, diagonal)
    assert_near(found, reference(F.gelu(x.float()).to(dtype), 4, clip, diagonal))


def test_gelu_is_within_a_thousandth_of_a_code(device: torch.device) -> None:
    """Rows whose largest outputs are 8, 3, 0.17 (negative inputs alone) and 1e-3: each has steps of its own."""
    ranges = [(-8, 8), (-6, 3), (-8, 0), (-0.002, 0.002)]
    x = torch.stack([torch.linspace(low, high, 4096) for low, high in ranges])
    exact = F.gelu(x.double())
    codes, scale = run(gelu_quantize, device, x, -128, 127)
    scale = scale[:, None].double()
    torch.testing.assert_close(scale, exact.abs().amax(1, keepdim=True) / 127, rtol=1e-5, atol=0)
    assert ((codes * scale - exact).abs() / scale).max() <= 0.5 + 1e-3
    differ = (codes.double() - (exact / scale).round()).abs()
    assert differ.max() <= 1 and differ.mean() <= 3e-4


@pytest.mark.parametrize("clip", [None, CLIP], ids=["whole", "clipped"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_nan_shows_in_the_scale_of_its_row_alone(
    device: torch.device, dtype: torch.dtype, clip: Tensor | None
) -> None:
    x = rows(6, 192, dtype)
    x[5, 7] = torch.nan
    ones = torch.ones(192, dtype=dtype)
    for function, arguments in (
        (quantize_tokens, (-8, 7, clip)),
        (gelu_quantize, (-8, 7, clip)),
        (layer_norm_quantize, (ones, ones, 1e-5, -8, 7, clip)),
        (hadamard_quantize, (ones.to(torch.int8), -8, 7, clip)),
    ):
        scale = run(function, device, x, *arguments)[1]
        assert scale.isnan().tolist() == [False] * 5 + [True], function


def assert_near(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """At most 0.1 % of the codes differ, by 1; the producer rounds to ``dtype``, so a scale is off by its last bit."""
    difference = (found[0].float() - expected[0]).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() <= 1e-3
    torch.testing.assert_close(found[1], expected[1], rtol=2**-7, atol=0)


@pytest.mark.parametrize("function", [quantize_tokens, gelu_quantize])
def test_no_rows(function: Callable[..., tuple[Tensor, Tensor]], device: torch.device) -> None:
    codes, scale = run(function, device, torch.ones(0, 64), -8, 7)
    assert codes.shape == (0, 64) and scale.shape == (0,)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.ones(2, 3, 4), (-8, 7), "contiguous rows"),
        (torch.ones(4, 4).T[1:], (-8, 7), "contiguous rows"),
        (torch.ones(2, 4, dtype=torch.int8), (-8, 7), "contiguous rows"),
        (torch.ones(1, 8193), (-8, 7), "8192"),
        (torch.ones(2, 4), (-256, 255), "signed bytes"),
        (torch.ones(2, 4), (-8, 7, torch.ones(3)), r"clip must be \[2\]"),
        (torch.ones(2, 4), (-8, 7, None, torch.ones(3)), r"diagonal must be \[4\]"),
    ],
    ids=["3-D", "strided", "integers", "wide", "codes", "clip", "diagonal"],
)
def test_what_it_refuses(x: Tensor, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_tokens(x, *arguments)
