"""Scopes: which linears of a model a method may touch. Every result names its scope; one table, one scope."""

from __future__ import annotations

from fgq_bench.errors import UserError
from fgq_bench.models.interface import ReconstructionModel

SCOPES = {
    "aa": ("aa",),
    "aa+camera": ("aa", "camera"),
    "aa+dino": ("aa", "dino"),
    "all": ("aa", "camera", "dino"),
}


def target_linears(model: ReconstructionModel, scope: str) -> list[str]:
    """Names of the linears of ``scope`` in the model's order; raises UserError for an unknown scope."""
    if scope not in SCOPES:
        raise UserError(f"scope {scope!r} is unknown; use one of {', '.join(SCOPES)}")
    groups = model.linear_groups()
    return [name for group in SCOPES[scope] for name in groups[group]]
