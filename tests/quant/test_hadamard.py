"""Hadamard matrices and the fast transform."""

from __future__ import annotations

import pytest
import torch

from fgq_bench.errors import UserError
from fgq_bench.quant.hadamard import hadamard_factors, hadamard_matrix, hadamard_transform


@pytest.mark.parametrize("order", [1, 2, 8, 12, 20, 28, 64])
def test_rows_are_orthogonal(order: int) -> None:
    matrix = hadamard_matrix(order)
    assert matrix.abs().eq(1).all()
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order, dtype=torch.long))


@pytest.mark.parametrize("width", [1, 12, 20, 28, 48, 64, 80, 112, 128, 192, 768, 1024, 4096])
def test_fast_transform_equals_the_dense_matrix(width: int) -> None:
    dense = torch.ones(1, 1, dtype=torch.long)
    for factor in hadamard_factors(width):
        dense = torch.kron(dense, hadamard_matrix(factor))
    x = torch.randn(3, 2, width, dtype=torch.double)
    torch.testing.assert_close(hadamard_transform(x), x @ dense.double() / width**0.5, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [3, 9, 176, 1000])
def test_other_widths_are_refused(width: int) -> None:
    with pytest.raises(UserError, match=rf"no Hadamard transform of width {width}: it must be 2\^k times 1, 12, 20"):
        hadamard_factors(width)
