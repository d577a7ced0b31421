"""Fake quantization: the grid's values, and a closed-form gradient equal to autograd's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fgq_bench.quant.fake import fake_quantize
from fgq_bench.quant.grid import dequantize, limits, quantize_rows


def by_autograd(x: Tensor, bits: int, clip: tuple[Tensor, Tensor], clamp: bool) -> Tensor:
    """The readable reference: the grid's own functions, differentiated by torch."""
    if clamp:
        return dequantize(*quantize_rows(x.clamp(*limits(x, clip)), bits, asymmetric=False))
    return dequantize(*quantize_rows(x, bits, False, clip))


@pytest.mark.parametrize("clamp", [False, True], ids=["scale", "clamp"])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (6, 1)], ids=["one clip", "clip per row"])
def test_values_and_gradients_are_those_of_the_grid(clamp: bool, bits: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(bits)
    inputs = [torch.randn(6, 40), 0.5 + 0.5 * torch.rand(shape), 0.5 + 0.5 * torch.rand(shape)]
    incoming = torch.randn(6, 40)
    results = []
    for fast in (True, False):
        x, low, high = (value.clone().requires_grad_() for value in inputs)
        clip = (low, high)
        y = fake_quantize(x, bits, False, clip, clamp) if fast else by_autograd(x, bits, clip, clamp)
        results.append((y, *torch.autograd.grad(y, (x, low, high), incoming)))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)


def test_asymmetric_rows_learn_too() -> None:
    x, clip = torch.rand(3, 20).requires_grad_(), (torch.ones(()), torch.tensor(0.9).requires_grad_())
    fake_quantize(x, 4, True, clip, clamp=True).sum().backward()
    assert clip[1].grad is not None and clip[1].grad.abs() > 0


def test_zero_rows_stay_zero() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    y = fake_quantize(x, 4, False, (torch.ones(()), torch.ones(()).clone()), clamp=True)
    y.sum().backward()
    assert y.eq(0).all() and x.grad is not None and x.grad.isfinite().all()
