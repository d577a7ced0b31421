"""Input transforms: undone in the weight, exact on the Hessian, faithful on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stored import header
from torch import Tensor

from fgq_bench.kernels.reference import execute
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Hadamard, Kronecker, Transform, apply_kronecker, balanced_factors

WIDTHS = [192, 128, 80]


def made(kind: str, width: int) -> Transform:
    generator = torch.Generator().manual_seed(0)
    a, b = balanced_factors(width)
    left, right = torch.randn(a, a, generator=generator), torch.randn(b, b, generator=generator)
    if kind == "diagonal":
        return Diagonal(torch.rand(width, generator=generator) + 0.5)
    if kind == "hadamard":
        return Hadamard.random(width, generator)
    return {"kronecker": Kronecker(left, right), "heads": Kronecker(left, None), "within": Kronecker(None, right)}[kind]


KINDS = ["diagonal", "hadamard", "kronecker", "heads", "within"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_output_is_unchanged_in_float64(kind: str, width: int) -> None:
    x, weight = torch.randn(7, width, dtype=torch.double), torch.randn(5, width, dtype=torch.double)
    linear = QuantLinear.from_float(
        weight, None, Scheme(16, 16), transforms=[made(kind, width), made("hadamard", width)]
    )
    torch.testing.assert_close(execute(x, linear), x @ weight.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_hessian_of_transformed_inputs(kind: str) -> None:
    x = torch.randn(300, 80, dtype=torch.double)
    transform = made(kind, 80)
    y = transform(x)
    torch.testing.assert_close(transform.of_hessian(x.T @ x), y.T @ y)


def test_kronecker_is_the_dense_product() -> None:
    x, left, right = torch.randn(4, 12), torch.randn(3, 3), torch.randn(4, 4)
    torch.testing.assert_close(apply_kronecker(x, left, right), x @ torch.kron(left, right))
    torch.testing.assert_close(apply_kronecker(x, left, None), x @ torch.kron(left, torch.eye(4)))
    torch.testing.assert_close(apply_kronecker(x, None, right), x @ torch.kron(torch.eye(3), right))


@pytest.mark.parametrize(("width", "factors"), [(1024, (32, 32)), (4096, (64, 64)), (192, (12, 16)), (768, (24, 32)), (7, (1, 7))])  # fmt: skip
def test_balanced_factors(width: int, factors: tuple[int, int]) -> None:
    assert balanced_factors(width) == factors


def test_shared_transforms_are_stored_once_and_shared_again(tmp_path: Path) -> None:
    shared = made("kronecker", 80)
    weight = torch.randn(6, 80)
    scheme = Scheme.parse("w4a4")
    linears = {
        part: QuantLinear.from_float(weight, None, scheme, transforms=[shared], act_clip=torch.tensor([0.9, 0.8]))
        for part in ("b.attn.q", "b.attn.k", "b.attn.v")
    }
    QuantizedModel(linears, header("w4a4")).save(tmp_path / "m")
    found = QuantizedModel.load(tmp_path / "m").linears
    assert found["b.attn.q"].transforms[0] is found["b.attn.v"].transforms[0]
    x = torch.randn(3, 80)
    for part in linears:
        assert torch.equal(execute(x, found[part]), execute(x, linears[part]))


def test_clipping_shrinks_the_input_scale() -> None:
    def output(clip: Tensor | None) -> Tensor:
        linear = QuantLinear.from_float(torch.eye(4), None, Scheme.parse("w8a8"), act_clip=clip)
        return execute(torch.tensor([[-4.0, 1.0, 2.0, 8.0]]), linear)

    assert output(None)[0, 3].item() == pytest.approx(8, rel=1e-2)
    assert output(torch.tensor([1.0, 0.5]))[0, 3].item() == pytest.approx(4, rel=1e-2)
