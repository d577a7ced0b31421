"""GPTQ against a slow, independent implementation: column by column, no blocks, inverse updated explicitly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.quant.grid import dequantize
from fgq_bench.quant.linear import round_to_nearest
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.gptq import GPTQRounder


def slow_gptq(weight: Tensor, hessian: Tensor, bits: int, size: int, damping: float) -> Tensor:
    """Real values after the textbook recursion (Frantar et al., eqs. 2 and 3) in float64."""
    w, top = weight.double().clone(), 2 ** (bits - 1) - 1
    h = hessian.double() + damping * hessian.double().diagonal().mean() * torch.eye(len(hessian), dtype=torch.double)
    inverse, out = torch.linalg.inv(h), torch.zeros_like(weight, dtype=torch.double)
    scale = torch.ones(len(w), 1, dtype=torch.double)
    for column in range(w.shape[1]):
        if column % size == 0:
            scale = w[:, column : column + size].abs().amax(1, keepdim=True).clamp(min=1e-5) / top
        q = (w[:, column] / scale[:, 0]).round().clamp(-top - 1, top) * scale[:, 0]
        out[:, column] = q
        w -= ((w[:, column] - q) / inverse[column, column])[:, None] * inverse[column]
        inverse = inverse - torch.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return out


def problem(width: int = 96, rows: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2000, width, generator=generator) @ torch.randn(width, width, generator=generator)
    return torch.randn(rows, width, generator=generator), 2 / len(x) * x.T @ x


def error(weight: Tensor, rounded: Tensor, hessian: Tensor) -> float:
    d = (rounded - weight).double()
    return float(((d @ hessian.double()) * d).sum())


def rounded(weight: Tensor, hessian: Tensor, scheme: str, **options: object) -> Tensor:
    settings = {"damping": 0.01, "block": 128, "act_order": False, **options}
    parsed = Scheme.parse(scheme)
    parts = GPTQRounder(hessian, **settings)(weight, parsed, parsed.groups_of(weight.shape[1], "w"))  # type: ignore[arg-type]
    return dequantize(*parts).flatten(1)


@pytest.mark.parametrize("block", [1, 32, 40, 128])
@pytest.mark.parametrize("scheme", ["w4a16", "w3a16", "w4a16g32", "w4a16g48"])
def test_equals_the_slow_recursion(scheme: str, block: int) -> None:
    weight, hessian = problem()
    size = Scheme.parse(scheme).group_size or weight.shape[1]
    slow = slow_gptq(weight, hessian, Scheme.parse(scheme).weight_bits, size, 0.01)
    fast = rounded(weight, hessian, scheme, block=block)
    same = (fast.double() - slow).abs() < 1e-4 * slow.abs().max()
    assert same.float().mean() >= 0.999
    assert error(weight, fast, hessian) == pytest.approx(error(weight, slow, hessian), rel=1e-3)


@pytest.mark.parametrize("scheme", ["w4a16", "w3a16g32", "w4a16-wasym", "w2a16g48-wasym"])
@pytest.mark.parametrize("act_order", [False, True])
def test_beats_rounding_to_nearest_on_its_own_objective(scheme: str, act_order: bool) -> None:
    weight, hessian = problem()
    parsed = Scheme.parse(scheme)
    nearest = dequantize(*round_to_nearest(weight, parsed, parsed.groups_of(96, "w"))).flatten(1)
    ours = rounded(weight, hessian, scheme, act_order=act_order)
    assert error(weight, ours, hessian) < 0.7 * error(weight, nearest, hessian)


def test_independent_inputs_leave_nothing_to_gain() -> None:
    weight, _ = problem()
    nearest = dequantize(*round_to_nearest(weight, Scheme.parse("w4a16"), 1)).flatten(1)
    assert torch.equal(rounded(weight, torch.eye(96), "w4a16"), nearest)


def test_a_dead_input_gets_code_zero() -> None:
    weight, hessian = problem()
    hessian[:, 5] = hessian[5, :] = 0
    assert rounded(weight, hessian, "w4a16")[:, 5].eq(0).all()


def test_a_broken_hessian_is_one_clear_line() -> None:
    weight, hessian = problem()
    with pytest.raises(UserError, match=r"not positive definite with damping 0\.01; use a larger one"):
        rounded(weight, -hessian, "w4a16")
