"""'Did you mean': one-line errors for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fgq_bench.errors import UserError


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a ``name`` that is no ``kind``, with close matches or else all known names."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names) or 'none'}"
    return UserError(f"unknown {kind} {name!r}; {hint}")
