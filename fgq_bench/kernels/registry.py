"""Backends by name; nothing heavy is imported until one is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from fgq_bench.suggest import unknown

if TYPE_CHECKING:
    from fgq_bench.quant.linear import Executor


@dataclass(frozen=True)
class Backend:
    """A way to execute quantized linears."""

    name: str
    summary: str
    executor: str  # "module:function"

    def load(self) -> Executor:
        """Import and return the executor."""
        module, _, function = self.executor.partition(":")
        executor: Executor = getattr(import_module(module), function)
        return executor


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "reference",
            "exact integer arithmetic in floating point, any device; slow, the definition of truth",
            "fgq_bench.kernels.reference:execute",
        ),
    )
}


def find_backend(name: str) -> Backend:
    """The backend called ``name``; raises UserError with the nearest names."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    return BACKENDS[name]
