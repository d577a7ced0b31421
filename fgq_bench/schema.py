"""Schemas of files: what a file may hold, checked when it is read and when it is written; a refusal names the key.

Contents stay plain values: a schema converts nothing, so that what was read is written back as it was.
"""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from fgq_bench.errors import UserError

LONGEST = 200  # characters of a key or a reason, which quote a file
LARGEST = 1e100  # of a number, so that sums, squares and quotients of some are finite, too
Finite = Annotated[float, pydantic.Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, pydantic.Field(ge=1 / LARGEST, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Size = Annotated[int, pydantic.Field(gt=0, lt=2**63)]


def absent(alias: str | None = None) -> Any:
    """The default of a key that may be missing: it is not there, while null is refused like any other wrong value."""
    return pydantic.Field(default=None, alias=alias)


class Schema(pydantic.BaseModel):
    """Known keys only, each of the very type that is declared: a text is no number, a truth value no integer."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class OpenSchema(pydantic.BaseModel):
    """As ``Schema``, with further keys of any plain value: what is declared is what readers rely on."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)


def check(schema: type[pydantic.BaseModel], values: object, where: str) -> None:
    """Raise UserError unless ``values`` are what ``schema`` declares: one line with ``where`` and the key."""
    if (fault := fault_of(schema, values)) is not None:
        raise UserError(f"{where}: {fault}")


def fault_of(schema: type[pydantic.BaseModel], values: object) -> str | None:
    """The first thing that ``schema`` refuses in ``values``, see ``first_fault``; None: nothing."""
    try:
        schema.model_validate(values)
    except pydantic.ValidationError as error:
        return first_fault(error)
    return None


def first_fault(error: pydantic.ValidationError) -> str:
    """The first thing that a schema refuses, as ``key 'a.b': what is wrong``, in one line that can be printed."""
    first = error.errors(include_url=False, include_input=False)[0]
    key, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    reason = reason if reason.isprintable() else repr(reason)
    return f"key {key[:LONGEST]!r}: {reason[:LONGEST]}" if key else reason[:LONGEST]
