"""JSON and TOML that anybody may have written: bounded, so that reading ends, and made of values that can be used.

All functions raise OSError or ValueError, whose message is one line without the file's name.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from fgq_bench.bounded import LIMIT, read_text

VALUES = 2**18  # values in a JSON document of this project; the largest stored ones have 2 000
WHOLE = 2**64  # whole numbers are smaller: what is larger is no count, size or seed
TOML_LIMIT = 2**18  # bytes of a card or a cluster's file
DOTS = 64  # in a line of TOML: a key of n parts takes n * n steps; the cards have up to 17
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
UNUSUAL = re.compile(r"\d{19}|[eE]\+?\d{3}|NaN|Infinity|\\u[dD][89a-fA-F]")  # what needs the slow, strict reader


def read_json(path: Path, limit: int = LIMIT) -> Any:
    """The JSON document in a file of at most ``limit`` bytes; see ``parse_json``."""
    return parse_json(read_text(path, limit))


def parse_json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no infinity, texts that can be printed, at most ``VALUES`` values.

    Raises ValueError, also for numbers that no float or 64-bit integer holds, and for what is nested too deeply.
    """
    if text.count(",") >= VALUES:  # before any is made: of n values all but one per list or object have a comma
        raise ValueError(f"more than {VALUES} values")
    try:
        if not UNUSUAL.search(text):
            return from_json(text, allow_inf_nan=False)
        value = json.loads(text, parse_float=_real, parse_int=_whole, parse_constant=_constant)
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError) or "recursion limit" in str(error)
        raise ValueError("nested too deeply" if deep else str(error)) from None
    if SURROGATE.search(text):
        _check_printable(value)
    return value


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond the range of numbers")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or abs(int(text)) >= WHOLE:
        raise ValueError(f"{text[:20]}... is beyond the range of whole numbers, 64 bits")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _check_printable(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text with half of a surrogate pair, which no file can hold") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML document in a file; see ``parse_toml``."""
    return parse_toml(read_text(path, TOML_LIMIT))


def parse_toml(text: str) -> dict[str, Any]:
    """TOML whose keys are short enough to be read at once; raises ValueError, also for what is nested too deeply."""
    if len(text) > TOML_LIMIT:
        raise ValueError(f"{len(text)} characters; at most {TOML_LIMIT} are read")
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > DOTS:
            raise ValueError(f"line {number}: more than {DOTS} dots, as in a key of so many parts")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_whole(values)
    return values


def _check_whole(value: Any) -> None:
    """Raise ValueError for whole numbers that the standard of TOML does not have either."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_whole(each)
    elif isinstance(value, int) and abs(value) >= WHOLE:
        raise ValueError(f"{str(value)[:20]}... is beyond the range of whole numbers, 64 bits")
