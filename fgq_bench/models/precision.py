"""The precision in which a model is evaluated, as a context."""

from __future__ import annotations

import torch


def evaluation_precision(device: torch.device, compute_dtype: str) -> torch.autocast:
    """Autocast to bf16 where ``compute_dtype`` is ``bfloat16``; otherwise the precision of weights and inputs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=compute_dtype == "bfloat16")
