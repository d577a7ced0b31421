"""Errors whose message is one line for the user: what was wrong, where, and what would be right."""

from __future__ import annotations

LONGEST = 1000  # characters of a message


def one_line(text: str) -> str:
    """``text`` on one line of at most ``LONGEST`` printable characters: names found in files may hold anything."""
    line = " ".join(part.strip() for part in text[: 10 * LONGEST].splitlines() if part.strip())
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


class UserError(Exception):
    """A mistake in the input; the CLI prints its message without a traceback and exits with code 2."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class OutputError(UserError):
    """The output cannot be written; unlike any other failure of a cell, it ends a sweep."""


class NotApplicable(UserError):
    """A method needs what the model lacks: no failure, a sweep records it and its command succeeds."""


class BadData(UserError):
    """A sequence of a data set that cannot be read or makes no sense; a sweep may leave it out (``--on-bad-data``).

    Whatever reads a sequence's own files raises it, whichever of them is damaged and however.
    """


def lacks_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out: Python's, torch's, the system's or an import's way of saying it."""
    texts = ("allocate memory", "out of memory", "failed to map segment")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts)


def first_line(error: BaseException) -> str:
    """The first line of ``error``; its kind where it has no words."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
