"""Losses against full precision, here and printed, of every cell of a paper's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fgq_bench.reporting.papers.layout import FULL_PRECISION, Layout, PaperColumn, PaperRow, Place, read_published
from fgq_bench.reporting.papers.loss import difference, loss_samples, printed_loss
from fgq_bench.reporting.statistics import FEWEST_RANKED, Array, Interval, percentiles, spearman
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

    def losses(self, row: PaperRow, column: PaperColumn) -> Array | None:
        """Loss here [1 + R]; None for full precision itself, and where a result is missing or full precision is 0."""
        found = self.row(row, column)
        if found is None or column.place is None or column.column is None or row.text == FULL_PRECISION:
            return None
        own, full = (each.sample(column.column) for each in (found, self.read[column.place][FULL_PRECISION]))
        return None if own is None or full is None else loss_samples(own, full, column.column.higher_is_better)

    def measured(self, row: PaperRow, column: PaperColumn) -> Interval | None:
        """Loss here with its interval, where there is one."""
        losses = self.losses(row, column)
        return None if losses is None else percentiles(losses)

    def printed(self, row: PaperRow, column: PaperColumn) -> Interval | None:
        """Loss as printed; None for full precision itself, for times and bytes, and where none is printed."""
        cell = self.layout.cell(row, column)
        if cell is None or cell.is_full_precision or "." not in cell.metric:
            return None
        full = read_published().full_precision(cell)
        return None if full is None else printed_loss(cell, full)

    def rank_agreement(self, bits: str, column: PaperColumn) -> Interval | None:
        """Whether methods at the printed ``bits`` lose in the same order here; None for fewer than FEWEST_RANKED of them."""
        both: dict[str | None, tuple[Array, float]] = {}  # by the row here: a paper may print one twice
        for row in (row for row in self.layout.rows if row.bits == bits):
            here, printed = self.losses(row, column), self.printed(row, column)
            if here is not None and printed is not None:
                both[row.text] = here, printed.value
        if len(both) < FEWEST_RANKED:
            return None
        return spearman([here for here, _ in both.values()], [np.array([printed]) for _, printed in both.values()])

    def difference(self, row: PaperRow, column: PaperColumn) -> Interval | None:
        """Loss here minus loss printed, in percentage points."""
        here, printed = self.measured(row, column), self.printed(row, column)
        return None if here is None or printed is None else difference(here, printed)
