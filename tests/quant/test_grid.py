"""The integer grid: definitions, bounds and ties."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fgq_bench.quant.grid import code_range, dequantize, exact_in_float32, product, quantize_rows, symmetric_scale

bits = st.sampled_from([2, 3, 4, 6, 8])


@settings(deadline=None)
@given(bits, st.booleans(), st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_codes_stay_in_range_and_errors_within_half_a_step(b: int, asymmetric: bool, seed: int, size: float) -> None:
    x = torch.randn(7, 33, generator=torch.Generator().manual_seed(seed)) * size
    codes, scale, zero = quantize_rows(x, b, asymmetric)
    low, high = code_range(b)
    assert codes.min() >= low
    assert codes.max() <= high
    assert torch.equal(codes, codes.round())
    step = 1.5 if asymmetric else 0.5  # an asymmetric zero point is itself rounded
    assert ((dequantize(codes, scale, zero) - x).abs() <= step * scale * (1 + 1e-5)).all()


@given(bits)
def test_lowest_code_is_not_reached_without_clipping(b: int) -> None:
    codes, _, _ = quantize_rows(torch.linspace(-1, 1, 1001)[None], b, asymmetric=False)
    assert codes.min() == code_range(b)[0] + 1


def test_clipping_reaches_the_lowest_code() -> None:
    codes, _, _ = quantize_rows(
        torch.linspace(-1, 1, 1001)[None], 4, asymmetric=False, clip=(torch.tensor(0.5), torch.tensor(0.5))
    )
    assert codes.min() == -8


def test_rounds_half_to_even() -> None:
    codes, scale, _ = quantize_rows(torch.tensor([[7.0, 0.5, 1.5, 2.5, -0.5, -1.5]]), 4, asymmetric=False)
    assert scale.item() == 1
    assert codes.tolist() == [[7, 0, 2, 2, 0, -2]]


def test_floor_of_the_scale() -> None:
    assert symmetric_scale(torch.zeros(1, 4), 4).item() == pytest.approx(1e-5 / 7)


def test_asymmetric_range_includes_zero() -> None:
    x = torch.tensor([[3.0, 4.0, 5.0]])
    codes, scale, zero = quantize_rows(x, 8, asymmetric=True)
    assert zero is not None
    assert dequantize(torch.zeros(1, 1) + zero, scale, zero).item() == 0
    assert (dequantize(codes, scale, zero) - x).abs().max() <= scale.item()


@pytest.mark.parametrize(("b", "width"), [(8, 256), (8, 4096), (4, 4096), (2, 4096)])
def test_product_is_exact(b: int, width: int) -> None:
    low, high = code_range(b)
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(low, high + 1, (3, width), generator=generator)
    w = torch.randint(low, high + 1, (5, width), generator=generator)
    a[0], w[0] = low, low  # the largest sum there is
    exact32 = exact_in_float32(b, b, width)
    truth = a.long() @ w.long().T
    assert torch.equal(product(a.float(), w.float(), exact32).double(), truth.float().double())
    if exact32:
        assert truth.abs().max() < 2**24


def test_worst_case_of_the_spec_is_not_left_to_float32() -> None:
    assert not exact_in_float32(8, 8, 4096)
    assert exact_in_float32(4, 4, 4096)


class _Divisions(TorchDispatchMode):
    """Second operands of all divisions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.divisors: list[Any] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function.overloadpacket is torch.ops.aten.div:
            self.divisors.append(arguments[1])
        assert function.overloadpacket is not torch.ops.aten.lift_fresh, "a copy from the host cannot be captured"
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("asymmetric", [False, True])
def test_scales_are_divided_by_tensors_because_a_gpu_multiplies_by_the_reciprocal_of_a_number(asymmetric: bool) -> None:
    x = torch.randn(3, 16)
    with _Divisions() as seen:
        quantize_rows(x, 4, asymmetric)
    assert seen.divisors and all(isinstance(each, torch.Tensor) for each in seen.divisors)
