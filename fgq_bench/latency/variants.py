"""One way to do a case's work: what is called, which peak it is measured against, what its speed-up is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

BASELINE = "bf16"


@dataclass(frozen=True)
class Variant:
    """One way to do a case's work."""

    call: Callable[[], object] | None  # None: no kernel takes it, ``about`` says why
    integer: bool = False  # which peak it is measured against
    traffic: float | None = None  # bytes that must be read and written
    module: nn.Module | None = None  # what stays in memory
    baseline: str = BASELINE  # the variant that its speed-up is over
    about: dict[str, Any] = field(default_factory=dict)
