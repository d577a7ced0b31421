"""Orthogonal matrices: the Cayley map that FlatQuant learns through, and random starts for it."""

from __future__ import annotations

import torch
from torch import Tensor


def cayley(raw: Tensor) -> Tensor:
    """Orthogonal matrices [..., n, n] of any ``raw``: (I - A/2)^-1 (I + A/2), A = tril(raw) - tril(raw)^T."""
    lower = raw.tril()
    skew = (lower - lower.mT) / 2
    identity = torch.eye(raw.shape[-1], dtype=raw.dtype, device=raw.device)
    orthogonal: Tensor = torch.linalg.solve(identity - skew, identity + skew)
    return orthogonal


def random_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """A Haar-random orthogonal matrix [size, size] (QR of a normal matrix, signs fixed)."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.double))
    matrix: Tensor = (q * r.diagonal().sign()).float()
    return matrix
