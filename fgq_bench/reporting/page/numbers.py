"""Numbers out of a table's texts: what the page sorts and plots is what the table says."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|inf)"
_CELL = re.compile(rf"({_NUMBER})(?:\s*(?:x|%|°|MB|ms))?(?: \[({_NUMBER}), ({_NUMBER})\])?(?= |$)")
WITHOUT_VALUE = frozenset({"", "–", "failed", "n/a", "refused", "nan"})


@dataclass(frozen=True)
class Measured:
    """A cell's value; ``low`` and ``high`` where it names an interval."""

    value: float
    low: float | None
    high: float | None


def read_number(text: str) -> Measured | None:
    """The leading number of a cell such as ``0.693 [0.651, 0.730] ±0.01`` or ``1.28x``; None where there is none."""
    found = _CELL.match(text)
    if found is None:
        return None
    value, low, high = (None if part is None else float(part) for part in found.groups())
    assert value is not None, "the pattern's first group always matches"
    return Measured(value, low, high) if math.isfinite(value) else None


def read_column(texts: Sequence[str]) -> list[Measured | None] | None:
    """The numbers of a column, None where a cell has no value; None as a whole for a column of words."""
    found = [None if text in WITHOUT_VALUE else read_number(text) for text in texts]
    words = any(number is None and text not in WITHOUT_VALUE for text, number in zip(texts, found, strict=True))
    return None if words or not any(found) else found
