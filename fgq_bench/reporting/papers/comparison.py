"""Losses against full precision, here and printed, of every cell of a paper's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fgq_bench.reporting.papers.layout import FULL_PRECISION, Layout, PaperColumn, PaperRow, Place, read_published
from fgq_bench.reporting.papers.loss import Compared, measured_loss, printed_loss
from fgq_bench.reporting.statistics import Interval
from fgq_bench.reporting.tables import Row

Read = Mapping[Place, Mapping[str, Row]]  # rows by their text, for every place that is scored


@dataclass(frozen=True)
class Comparison:
    """A paper's table with the rows that are stored here."""

    layout: Layout
    read: Read

    def row(self, row: PaperRow, column: PaperColumn) -> Row | None:
        """What is scored beside a printed cell; None where nothing is."""
        if column.place is None or column.column is None or row.text is None:
            return None
        return self.read[column.place][row.text]

    def measured(self, row: PaperRow, column: PaperColumn) -> Interval | None:
        """Loss here; None for full precision itself, and where a result is missing or full precision is 0."""
        found = self.row(row, column)
        if found is None or column.place is None or column.column is None or row.text == FULL_PRECISION:
            return None
        own, full = (each.sample(column.column) for each in (found, self.read[column.place][FULL_PRECISION]))
        return None if own is None or full is None else measured_loss(own, full, column.column.higher_is_better)

    def printed(self, row: PaperRow, column: PaperColumn) -> Interval | None:
        """Loss as printed; None for full precision itself, for times and bytes, and where none is printed."""
        cell = self.layout.cell(row, column)
        if cell is None or cell.is_full_precision or "." not in cell.metric:
            return None
        full = read_published().full_precision(cell)
        return None if full is None else printed_loss(cell, full)

    def difference(self, row: PaperRow, column: PaperColumn) -> Interval | None:
        """Loss here minus loss printed, in percentage points."""
        here, printed = self.measured(row, column), self.printed(row, column)
        return None if here is None or printed is None else Compared(here, printed).difference
