"""Hadamard and Kronecker transforms fused with the quantiser, against ``quant.transforms`` in fp32.

Sums run in another order and in 22 bits, so a value next to a rounding tie may get the neighbouring code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import input_codes
from fgq_bench.quant.hadamard import hadamard_transform
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Hadamard, Kronecker, Transform

pytest.importorskip("triton", reason="the Triton kernels need triton (pip install fgq-bench[gpu])")
from fgq_bench.kernels.triton.hadamard import hadamard, hadamard_halves, hadamard_quantize
from fgq_bench.kernels.triton.kronecker import kronecker, kronecker_quantize

DTYPES = [torch.bfloat16, torch.float16, torch.float32]
CLIP = torch.tensor([0.7, 0.9])
FACTORS = [(12, 16), (24, 32), (32, 32), (None, 16), (None, 64), (16, None), (3, None), (64, 16)]


def rows(tokens: int, width: int, dtype: torch.dtype) -> Tensor:
    """Random rows with an outlier channel; the first is zero, the second tiny, the third huge."""
    torch.manual_seed(0)
    x = torch.randn(tokens, width)
    x[:, 5] *= 300
    for row, factor in enumerate((0, 1e-3, 100)[: tokens - 1]):
        x[row] *= factor
    return x.to(dtype)


def expected(x: Tensor, transforms: Sequence[Transform], clip: Tensor | None) -> tuple[Tensor, Tensor]:
    linear = QuantLinear.from_float(torch.ones(2, x.shape[1]), None, Scheme.parse("w8a8"), act_clip=clip)
    linear.transforms.extend(transforms)
    codes, scale = input_codes(linear.transformed(x.float()), linear)
    return codes, scale[:, 0]


def run(function: Callable[..., Any], device: torch.device, *arguments: Any) -> Any:
    """What ``function`` returns, called where the kernels run."""
    out = function(*(argument.to(device) if isinstance(argument, Tensor) else argument for argument in arguments))
    return out.cpu() if isinstance(out, Tensor) else tuple(tensor.cpu() for tensor in out)


def assert_near(found: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> None:
    """At most 0.1 % of the codes differ (one where there are few), by 1."""
    difference = (found[0].float() - reference[0]).abs()
    assert difference.max() <= 1
    assert difference.sum() <= max(1, 1e-3 * difference.numel())
    torch.testing.assert_close(found[1], reference[1], rtol=2e-6, atol=0)


def random_kronecker(left: int | None, right: int | None) -> Kronecker:
    """Factors of very different sizes, not orthogonal, not symmetric."""
    generator = torch.Generator().manual_seed(3)
    draw = [None if size is None else torch.randn(size, size, generator=generator) for size in (left, right)]
    return Kronecker(None if draw[0] is None else 30 * draw[0], None if draw[1] is None else 0.1 * draw[1])


@pytest.mark.parametrize("width", [192, 256, 768, 1024, 2048, 320, 112, 16, 12])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_hadamard_then_codes(device: torch.device, width: int, dtype: torch.dtype) -> None:
    transform = Hadamard.random(width, torch.Generator().manual_seed(0))
    before, after = torch.rand(2, width) + 0.5
    x = rows(5, width, dtype)
    found = run(hadamard_quantize, device, x, transform.signs, -128, 127)
    assert_near(found, expected(x, [transform], None))
    found = run(hadamard_quantize, device, x, transform.signs, -128, 127, CLIP, before, after)
    assert_near(found, expected(x, [Diagonal(before), transform, Diagonal(after)], CLIP))


@pytest.mark.parametrize("tokens", [1, 3, 33])
def test_any_number_of_rows(device: torch.device, tokens: int) -> None:
    """33 rows are more than the interpreter's programs: they loop."""
    transform = Hadamard.random(192, torch.Generator().manual_seed(0))
    x = rows(tokens, 192, torch.bfloat16)
    found = run(hadamard_quantize, device, x, transform.signs, -128, 127)
    assert_near(found, expected(x, [transform], None))


@pytest.mark.parametrize(("left", "right"), FACTORS, ids=lambda size: str(size))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kronecker_then_codes(device: torch.device, left: int | None, right: int | None, dtype: torch.dtype) -> None:
    transform = random_kronecker(left, right)
    width = (left or 12) * (right or 16)
    x, before = rows(5, width, dtype), torch.rand(width) + 0.5
    found = run(kronecker_quantize, device, x, transform.left, transform.right, -128, 127, CLIP)
    assert_near(found, expected(x, [transform], CLIP))
    found = run(kronecker_quantize, device, x, transform.left, transform.right, -128, 127, None, before)
    assert_near(found, expected(x, [Diagonal(before), transform], None))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_quantisation(device: torch.device, dtype: torch.dtype) -> None:
    """The weight-only schemes' form: rounded to the input's type, half to even."""
    rotation, mixing = Hadamard.random(768, torch.Generator().manual_seed(0)), random_kronecker(24, 32)
    x = rows(5, 768, dtype)
    tolerance = {torch.bfloat16: 2**-8, torch.float16: 2**-10, torch.float32: 1e-6}[dtype]
    for found, transform in (
        (run(hadamard, device, x, rotation.signs), rotation),
        (run(kronecker, device, x, mixing.left, mixing.right), mixing),
    ):
        wanted = transform(x.float())
        finite = wanted.abs() < torch.finfo(dtype).max
        assert found.dtype == dtype
        size = wanted.abs().amax(-1, keepdim=True).expand_as(wanted)
        near = (found.float() - wanted).abs() <= tolerance * wanted.abs() + 1e-6 * size
        assert (near | ~finite).all()


@pytest.mark.parametrize("size", [1e-25, 1e-12, 1e12, 1e30])
def test_any_magnitude(device: torch.device, size: float) -> None:
    """Powers of two keep fp16 operands in range, whatever the rows and the factors are like."""
    transform = Kronecker(torch.full((16, 16), 6e4), torch.full((16, 16), 1e-5))
    x = size * rows(2, 256, torch.float32)[1:]
    torch.testing.assert_close(
        run(kronecker, device, x, transform.left, transform.right), transform(x), rtol=1e-4, atol=1e-5 * size
    )


@pytest.mark.parametrize("width", [16, 192, 768, 1280, 1024, 3072, 4096, 8192, 7168])
def test_halves_make_the_matrix(width: int) -> None:
    left, right = (half.float() for half in hadamard_halves(width, torch.device("cpu")))
    torch.manual_seed(0)
    x = torch.randn(2, width)
    product = Kronecker(left, right)(x) * width**-0.5
    torch.testing.assert_close(product, hadamard_transform(x), rtol=1e-5, atol=1e-5)


def test_what_it_refuses() -> None:
    x, square = torch.ones(2, 256), torch.ones(16, 16).half()
    with pytest.raises(UserError, match="no Hadamard transform of width 50"):
        hadamard_quantize(torch.ones(2, 50), torch.ones(50), -8, 7)
    for left, right, message in (
        (None, None, "without factors"),
        (square.float(), None, "must be square, contiguous, fp16"),
        (square[:8], None, "must be square, contiguous, fp16"),
        (torch.ones(256, 256).half(), None, "at most 128 wide"),
        (square, torch.ones(12, 12).half(), "factors of 16 and 12 do not make rows of 256"),
        (torch.ones(12, 12).half(), None, "factors of 12 and 21 do not make rows of 256"),
    ):
        with pytest.raises(ValueError, match=message):
            kronecker_quantize(x, left, right, -8, 7)
