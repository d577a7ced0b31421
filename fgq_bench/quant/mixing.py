"""Small matrices applied along one axis of a folded row: what Hadamard and Kronecker transforms are made of."""

from __future__ import annotations

import torch
from torch import Tensor

NARROW = 32  # up to here a tall product on transposed rows beats thousands of tiny ones (7 times at 32, on a CPU)


def mix(x: Tensor, matrix: Tensor, stride: int = 1) -> Tensor:
    """``x`` [..., n] with channels ``stride`` apart mixed by ``matrix`` [f, f]: y[.., j, s] = sum_i x[.., i, s] m[i, j].

    Each row is folded to [n / (f * stride), f, stride]; the middle axis is multiplied.
    """
    size = len(matrix)
    if stride == 1:
        return (x.reshape(-1, size) @ matrix).view(x.shape)
    folded = x.reshape(-1, size, stride)
    if size > NARROW:
        return torch.matmul(matrix.mT, folded).view(x.shape)
    mixed = folded.mT.reshape(-1, size) @ matrix
    return mixed.view(-1, stride, size).mT.reshape(x.shape)
