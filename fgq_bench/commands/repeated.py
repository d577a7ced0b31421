"""Options that may be given several times: none may say the same thing twice, or two things of one name."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import typer

from fgq_bench.errors import UserError

T = TypeVar("T")


def distinct(option: typer.CallbackParam, values: list[T] | None) -> list[T] | None:
    """A callback that returns ``values``; raises UserError for one that is given twice."""
    for value, count in Counter(values or []).items():
        if count > 1:
            raise UserError(f"{_name(option)} {value}: given {count} times; once is enough")
    return values


def distinct_keys(option: typer.CallbackParam, values: list[str] | None) -> list[str] | None:
    """A callback for KEY=VALUE pairs that returns ``values``; raises UserError for a key that is given twice."""
    by_key: dict[str, list[str]] = {}
    for text in values or []:
        key, _, value = text.partition("=")
        by_key.setdefault(key.strip(), []).append(value.strip())
    for key, given in by_key.items():
        if len(given) > 1:
            raise UserError(
                f"{_name(option)} {key}: given {len(given)} times ({', '.join(given)}); which one is meant?"
            )
    return values


def _name(option: typer.CallbackParam) -> str:
    return max(option.opts, key=len)
