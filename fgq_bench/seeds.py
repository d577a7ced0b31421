"""Seeds: those that every generator here takes (torch's, NumPy's)."""

from __future__ import annotations

from fgq_bench.errors import UserError

LARGEST_SEED = 2**63 - 1


def check_seed(seed: int, where: str = "seed") -> int:
    """``seed``; raises UserError that says ``where`` it is, unless it lies between 0 and 2^63 - 1."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"{where} {seed}: must lie between 0 and {LARGEST_SEED}")
    return seed
