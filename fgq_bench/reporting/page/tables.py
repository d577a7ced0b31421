"""The tables of every report, as the Markdown shows them, ready to be sorted and filtered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fgq_bench.reporting.page.numbers import Measured, read_column
from fgq_bench.reporting.page.section import Section
from fgq_bench.reporting.tables import Cell, Table

_SCHEME = re.compile(r"\bw[0-9]+a[0-9]+(?:g[0-9]+)?(?:-\w+)*")


@dataclass(frozen=True)
class Report:
    """A report's tables under its title."""

    name: str
    title: str
    summary: str
    tables: Sequence[Table]


@dataclass(frozen=True)
class PageCell:
    """A cell, with the number that it is sorted by (None: last)."""

    cell: Cell
    number: Measured | None


@dataclass(frozen=True)
class PageRow:
    """A row; ``scheme`` is what the filter asks for, empty for references such as full precision."""

    scheme: str
    cells: Sequence[PageCell]


@dataclass(frozen=True)
class PageTable:
    """A table with its numbers read; ``numeric`` says which columns hold them."""

    table: Table
    numeric: Sequence[bool]
    rows: Sequence[PageRow]

    @classmethod
    def read(cls, table: Table) -> PageTable:
        """Read the numbers of every column, and the scheme of every row."""
        columns = [read_column([row[index].text for row in table.rows]) for index in range(len(table.heads))]
        rows = []
        for place, row in enumerate(table.rows):
            numbers = [None if column is None else column[place] for column in columns]
            cells = [PageCell(cell, number) for cell, number in zip(row, numbers, strict=True)]
            rows.append(PageRow(scheme_of(row), cells))
        return cls(table, [column is not None for column in columns], rows)


def scheme_of(row: Sequence[Cell]) -> str:
    """The first scheme that a row names, ``w4a16g64`` of ``gptq w4a16g64``."""
    return next((found[0] for cell in row if (found := _SCHEME.search(cell.text))), "")


def tables_section(reports: Sequence[Report]) -> Section:
    """Every report with its tables, and the schemes that can be filtered by."""
    read = [(report, [PageTable.read(table) for table in report.tables]) for report in reports]
    schemes = sorted({row.scheme for _, tables in read for table in tables for row in table.rows if row.scheme})
    missing = "" if read else "No table: nothing is stored. fgq-bench run-all makes results."
    return Section("tables", "Tables", {"reports": read, "schemes": schemes}, missing=missing)
