"""The one way in which commands print: texts as they are, whatever they hold, on any terminal; or JSON to a pipe.

Texts are never read as Rich's markup: a folder may be called ``run[old]``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fgq_bench.terminal import printable

_console = Console(markup=False, emoji=False, highlight=False)


def print_json(value: Any) -> None:
    """Plain JSON on standard output, all of it ASCII."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))


def print_text(text: str, style: str = "") -> None:
    """A text of one or more lines, never wrapped; ``style``: a colour where there are colours."""
    _console.print(_text(text, style), soft_wrap=True)


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """A table of dictionaries that share their keys."""
    if not rows:
        print_text(f"{title}: none")
        return
    table = Table(title=_text(title, "table.title"), title_justify="left")
    for key in rows[0]:
        table.add_column(_text(key), overflow="fold")
    for row in rows:
        table.add_row(*(_text(str(value)) for value in row.values()))
    _console.print(table)


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """A line on a terminal that says what is being done, for as long as the context lasts; yields what changes it."""
    with _console.status(_text(text), spinner="line") as status:
        yield lambda each: status.update(_text(each))


def progress_bar(unit: str, disable: bool = False) -> Progress:
    """A bar on a terminal that counts ``unit`` and says how long it takes; it goes when it is done."""
    columns = (
        _Description(), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=_console, transient=True, disable=disable)


class _Description(ProgressColumn):
    """What is being done."""

    def render(self, task: Task) -> Text:
        """See ``ProgressColumn``."""
        return _text(task.description)


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text, keep="\n"), style)
