"""Checkpoints that are on this machine already: what only shows stored numbers asks no hub and downloads nothing."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.errors import UserError
from fgq_bench.models.checkpoint_sources import FILES, is_hub_id


def find_locally(checkpoint: str) -> str:
    """``checkpoint`` as a path: of a hub id what was downloaded before; raises UserError where nothing was."""
    if Path(checkpoint).exists() or not is_hub_id(checkpoint):
        return checkpoint
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(checkpoint, FILES[0])
    if not isinstance(found, str):  # None, or a mark that the hub has no such file
        raise UserError(f"{checkpoint}: not on this machine, and reports download nothing: fgq-bench run-all does")
    return found
