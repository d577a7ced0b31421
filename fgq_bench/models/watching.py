"""Look at what modules are given while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def watched_inputs(modules: Mapping[str, nn.Module], watch: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While active, ``watch(name, x)`` is told of the first argument of every call of ``modules``."""
    handles = [
        module.register_forward_pre_hook(lambda _, arguments, name=name: watch(name, arguments[0]))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
