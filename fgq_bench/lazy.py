"""Classes that cards name as ``module:Class``, imported when they are needed; a name that is none is one line."""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from fgq_bench.errors import UserError

T = TypeVar("T")


def find_class(reference: str, base: type[T], where: str) -> type[T]:
    """The subclass of ``base`` that ``reference`` names; raises UserError that says ``where`` it is named.

    Importing runs the module: a card that names code is as trusted as that code. What only names a card by its name
    (a manifest, a report) can never bring in one from elsewhere.
    """
    module, _, name = reference.partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # whatever a module raises when it is imported
        raise UserError(f"{where}: {reference!r} cannot be imported ({type(error).__name__}: {error})") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{where}: {reference!r} is no {base.__name__}")
    return found
