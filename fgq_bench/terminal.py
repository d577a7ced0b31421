"""Text on a terminal: nothing that a file or a user wrote steers it, and none of it fails for the terminal's encoding."""

from __future__ import annotations

import io
import logging
import sys

ENCODING_ERRORS = "backslashreplace"  # what becomes of a character that the output's encoding does not have


def printable(text: str, keep: str = "") -> str:
    """``text`` with what is not shown as itself as its Python escape: control characters, lone surrogates, line breaks.

    Characters of ``keep`` stay as they are.
    """
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


class PrintableFormatter(logging.Formatter):
    """Log records hold texts of files, too."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``printable``; line breaks stay, a traceback has some."""
        return printable(super().format(record), keep="\n")


def set_up_output() -> None:
    """Prepare this process's output; called once, where the process starts."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ENCODING_ERRORS)
    if logging.lastResort is not None:  # the handler of whatever has none of its own
        logging.lastResort.setFormatter(PrintableFormatter())
