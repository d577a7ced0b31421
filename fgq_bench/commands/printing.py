"""Printing to a terminal, or JSON to a pipe."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console()


def print_json(value: Any) -> None:
    """Plain JSON on standard output."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """A table of dictionaries that share their keys."""
    if not rows:
        console.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left")
    for key in rows[0]:
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
