"""The reference backend against an independent formula in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import find_backend
from fgq_bench.quant.grid import dequantize, quantize_rows
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme

SCHEMES = ["w8a8", "w4a8", "w4a4", "w3a6", "w2a2", "w4a4g16", "w4a8-wasym", "w4a8-aasym", "w8a8g32-wasym-aasym", "w4a4-atensor", "w4a16g16", "w2a16", "w16a4", "w16a8-atensor"]  # fmt: skip


def dequantized_input(x: Tensor, scheme: Scheme) -> Tensor:
    if not scheme.quantizes_activations:
        return x.double()
    rows = x.reshape(1, -1) if scheme.activation_per_tensor else x
    codes, scale, zero = quantize_rows(rows, scheme.activation_bits, scheme.activation_asymmetric)
    return dequantize(codes, scale, zero).double().view_as(x)


@pytest.mark.parametrize("text", SCHEMES)
@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64), (1, 64)], ids=str)
def test_equals_dequantize_then_multiply(text: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    scheme = Scheme.parse(text)
    weight, bias, x = torch.randn(24, 64), torch.randn(24), 3 * torch.randn(shape)
    linear = QuantLinear.from_float(weight, bias, scheme)
    truth = dequantized_input(x, scheme) @ linear.dequantized_weight().double().T + bias.double()
    torch.testing.assert_close(execute(x, linear).double(), truth, rtol=1e-5, atol=1e-5)


def test_wide_int8_sum_is_exact() -> None:
    x, weight = torch.ones(1, 4096), torch.ones(2, 4096)
    weight[1, ::2] = -1
    linear = QuantLinear.from_float(weight, None, Scheme.parse("w8a8"))
    y = execute(x, linear)
    scales = (1 / 127) * (1 / 127)
    assert y[0, 0].item() == pytest.approx(127 * 127 * 4096 * scales, rel=1e-6)
    assert y[0, 1].item() == 0


@pytest.mark.parametrize("text", ["w4a4", "w4a8", "w8a8", "w4a16g16"])
def test_autocast_around_the_model_changes_nothing(text: str) -> None:
    torch.manual_seed(0)
    linear = QuantLinear.from_float(torch.randn(24, 64), torch.randn(24), Scheme.parse(text))
    x = torch.randn(5, 64)
    plain = execute(x, linear)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(execute(x, linear), plain)


def test_output_has_the_dtype_of_the_input() -> None:
    linear = QuantLinear.from_float(torch.randn(8, 16), None, Scheme.parse("w8a8"))
    assert execute(torch.randn(3, 16).bfloat16(), linear).dtype == torch.bfloat16


def static(text: str, scale: list[float], zero: list[int] | None = None) -> QuantLinear:
    """The identity, so that its output is its input on the stored grid."""
    linear = QuantLinear.from_float(torch.eye(2), None, Scheme.parse(text))
    linear.act_scale = torch.tensor(scale)
    linear.act_zero = None if zero is None else torch.tensor(zero, dtype=torch.int8)
    return linear


@pytest.mark.parametrize("weights", ["w16", "w8"])
def test_static_scales_are_used_as_stored(weights: str) -> None:
    x = torch.tensor([[[1.1, 5.0], [-9.0, 0.3]]])
    for text, scale, zero, expected in (
        ("a4-astatic-atensor", [0.5], None, [[1.0, 3.5], [-4.0, 0.5]]),
        ("a4-astatic-atensor-aasym", [0.5], [-3], [[1.0, 5.0], [-2.5, 0.5]]),
        ("a4-astatic", [0.5, 2.0], None, [[1.0, 3.5], [-8.0, 0.0]]),
        ("a4-aasym-astatic", [0.5, 2.0], [-3, 1], [[1.0, 5.0], [-8.0, 0.0]]),
    ):
        found = execute(x, static(weights + text, scale, zero))
        torch.testing.assert_close(found, torch.tensor([expected]), msg=text)


def test_static_scales_repeat_over_frames_in_a_row() -> None:
    x = torch.tensor([[0.6, 9.0], [0.6, 9.0]] * 3)[None]
    found = execute(x, static("w16a4-astatic", [1.0, 0.25]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 7.0], [0.5, 1.75]] * 3)[None])


def test_static_scales_of_another_image_size_are_refused() -> None:
    with pytest.raises(UserError, match="for 2 token positions do not fit 3 tokens: they were calibrated at another"):
        execute(torch.zeros(1, 3, 2), static("w8a8-astatic", [1.0, 0.25]))


def test_a_static_layer_without_scales_says_so() -> None:
    linear = QuantLinear.from_float(torch.randn(8, 16), None, Scheme.parse("w8a8-astatic"))
    with pytest.raises(RuntimeError, match="no static scales: calibrate them first"):
        execute(torch.randn(3, 16), linear)


def test_a_layer_without_backend_says_so() -> None:
    linear = QuantLinear.from_float(torch.randn(8, 16), None, Scheme.parse("w8a8"))
    with pytest.raises(RuntimeError, match="bind a backend"):
        linear(torch.randn(3, 16))


def test_unknown_backend_is_suggested() -> None:
    with pytest.raises(UserError, match="unknown backend 'refrence'; did you mean reference"):
        find_backend("refrence")
