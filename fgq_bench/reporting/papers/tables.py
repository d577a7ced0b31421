"""Render a paper's table: for every row what is measured here, what is printed, and how the two losses differ."""

from __future__ import annotations

from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.papers.comparison import Comparison, Read
from fgq_bench.reporting.papers.layout import FULL_PRECISION, Layout, PaperColumn, PaperRow, Place, read_published
from fgq_bench.reporting.papers.measures import Measured, Sources, measure_of
from fgq_bench.reporting.rows import RowText
from fgq_bench.reporting.statistics import Interval
from fgq_bench.reporting.tables import MISSING, Cell, Table, conditions, row_marks
from fgq_bench.results import Store

HERE, PRINTED, DIFFERENCE = "here", "printed", "difference"
_SIDE_BY_SIDE = 2  # columns of a data set up to which all data sets share a table
_LINES = (
    "'printed' is the paper's number as printed, 'here' this project's, of the row named. Loss: how much worse than full "
    "precision of the same source, in percent of it (negative: better); none where that is 0 in some resample. Brackets here: 95 % interval, paired bootstrap "
    "over sequences; of a printed loss: what the rounding of the printed numbers allows. Difference: loss here minus "
    "loss printed, percentage points; absolute values of different data never mix. Bold: best at its scheme, with all "
    "that a paired bootstrap does not tell from it; underlined: second. Last lines: rank correlation of the losses, here and "
    "printed, over the methods of one bit-width (four at least), with its interval over resampled sequences."
)


def build_paper(layout: Layout, read: Read, store: Store) -> list[Table]:
    """One table per published data set, or a single one where each has at most two columns."""
    sources = Sources.read(layout, store, stored_sizes(read))
    groups: dict[str, list[PaperColumn]] = {}
    for column in layout.columns:
        groups.setdefault(column.first.printed.dataset, []).append(column)
    if all(len(columns) <= _SIDE_BY_SIDE for columns in groups.values()):
        groups = {"": layout.columns}
    return [_Builder(layout, columns, read, sources).table(dataset) for dataset, columns in groups.items()]


def stored_sizes(read: Read) -> dict[str, str]:
    """How many times as small as bf16 the artefact of each scored row is."""
    sizes = {text: row.size()[1] for rows in read.values() for text, row in rows.items()}
    return {text: size for text, size in sizes.items() if size != MISSING}


class _Builder:
    """One table."""

    def __init__(self, layout: Layout, columns: list[PaperColumn], read: Read, sources: Sources) -> None:
        self.layout, self.columns, self.read, self.sources = layout, columns, read, sources
        self.compared = Comparison(layout, read)
        self.places = dict.fromkeys(c.place for c in columns if c.place is not None and c.column is not None)
        self.where: dict[str, None] = {}  # conditions of measured times and bytes, in the order of first sight
        self.marks = {column.key: self._marks(column) for column in columns}

    def table(self, dataset: str) -> Table:
        """The table of ``dataset`` (empty: of all), whose heads then name the data set."""
        heads = [c.heading if dataset else f"{c.first.printed.dataset}: {c.heading}" for c in self.columns]
        body = [line for row in self.layout.rows for line in self._lines(row)] + self._orders()
        card = self.layout.card
        slug = "-".join(
            [card.name, *(("".join(ch if ch.isalnum() else "-" for ch in dataset.lower()),) if dataset else ())]
        )
        return Table(
            slug,
            f"{card.title}: {dataset}" if dataset else card.title,
            self._caption(),
            ["Method", "Scheme", "What", *heads],
            body,
        )

    def _marks(self, column: PaperColumn) -> dict[str, str]:
        """``best`` or ``second`` by the row's text."""
        if column.place is None or column.column is None:
            return {}
        shown = {row.text: self.read[column.place][row.text] for row in self.layout.rows if row.text}
        samples = [row.sample(column.column) for row in shown.values()]
        return dict(zip(shown, row_marks(list(shown.values()), samples, column.column.higher_is_better), strict=True))

    def _lines(self, row: PaperRow) -> list[list[Cell]]:
        """What is here (for methods of this project), what is printed, how far the losses are apart."""
        names = [Cell(row.method), Cell(row.bits)]
        lines = []
        if row.text is not None:
            lines.append([*names, Cell(f"{HERE}: {row.text}"), *(self._here(row, column) for column in self.columns)])
        lines.append([*names, Cell(PRINTED), *(Cell(self._printed(row, column)) for column in self.columns)])
        differences = [self.compared.difference(row, column) for column in self.columns]
        if any(each is not None for each in differences):
            texts = [MISSING if each is None else _percent(each) for each in differences]
            lines.append([*names, Cell(DIFFERENCE), *map(Cell, texts)])
        return lines

    def _orders(self) -> list[list[Cell]]:
        """For every bit-width with enough methods: do they lose in the printed order?"""
        lines = []
        for bits in dict.fromkeys(row.bits for row in self.layout.rows):
            found = [self.compared.rank_agreement(bits, column) for column in self.columns]
            if any(found):
                texts = [
                    MISSING if each is None else f"{each.value:z.2f} [{each.low:z.2f}, {each.high:z.2f}]"
                    for each in found
                ]
                lines.append(
                    [Cell("order of methods"), Cell(bits), Cell("Spearman, here and printed"), *map(Cell, texts)]
                )
        return lines

    def _here(self, row: PaperRow, column: PaperColumn) -> Cell:
        found = self.compared.row(row, column)
        if found is None or column.column is None:
            measured = self._measured(row, column)
            return Cell(MISSING if measured is None else measured.text)
        sample = found.sample(column.column)
        text = found.text(column.column, sample) + (_unit(column.column) if sample is not None else "")
        loss = self.compared.measured(row, column)
        text += "" if loss is None else f"; loss {_percent(loss)} %"
        return Cell(text, self.marks[column.key].get(row.text or "", ""))

    def _measured(self, row: PaperRow, column: PaperColumn) -> Measured | None:
        measure = measure_of(column)
        if measure is None or row.text is None:
            return None
        measured = measure.read(self.sources, column, RowText.parse(self.layout.card.name, row.text))
        if measured is not None:
            self.where[measured.where] = None
        return measured

    def _printed(self, row: PaperRow, column: PaperColumn) -> str:
        cell = self.layout.cell(row, column)
        if cell is None:
            return MISSING
        printed = cell.printed
        unit = "" if printed.unit == "fraction" else "x" if printed.unit == "x" else f" {printed.unit}"
        loss = self.compared.printed(row, column)
        return f"{printed.value}{unit}" + ("" if loss is None else f"; loss {_percent(loss)} %")

    def _caption(self) -> str:
        card = self.layout.card
        printed = self.columns[0].first.printed
        beside = dict.fromkeys((c.first.printed.dataset, c.place) for c in self.columns if c.place is not None)
        texts = [f"Printed: {printed.paper}, {printed.table}, {printed.model}."]
        if card.not_here:
            texts.append(f"Nothing of it is made here: {card.not_here}.")
        for name, place in beside:
            texts.append(f"{name} stands beside {self._title(place)}.")
        for place in self.places:
            rows = list(self.read[place].values())
            columns = [c.column for c in self.columns if c.place == place and c.column is not None]
            texts.append(f"{self._title(place)}: {conditions(card, rows, columns)}")
        own = dict.fromkeys(
            f"{c.heading} is {c.column.task}.{c.column.metric} here"
            for c in self.columns
            if c.column is not None and not c.first.metric.startswith(f"{c.column.task}.{c.column.metric}")
        )
        if own:
            texts.append("; ".join(own) + ".")
        if card.calibration is not None:
            texts.append(f"Rows without @ are calibrated on {card.calibration}.")
        if self.where:
            texts.append(f"Times, bytes and costs: model {card.model}; {'; '.join(self.where)}.")
        foreign = dict.fromkeys(row.method for row in self.layout.rows if row.text is None)
        if foreign and not card.not_here:
            texts.append(f"Printed only, not in this project: {', '.join(foreign)}.")
        texts += self._references()
        return " ".join([*texts, _LINES])

    def _references(self) -> list[str]:
        """What losses are against, where the table itself has no row of full precision."""
        if any(row.text == FULL_PRECISION for row in self.layout.rows) or self.layout.card.not_here:
            return []
        texts = []
        for column in self.columns:
            full = read_published().full_precision(column.first) if "." in column.first.metric else None
            if full is not None and column.place is not None and column.column is not None:
                row = self.read[column.place][FULL_PRECISION]
                here = row.text(column.column, row.sample(column.column)) + _unit(column.column)
                there = f"{full.printed.value} {full.printed.unit}".removesuffix(" fraction")
                texts.append(f"Full precision of {column.heading}: {here} here, {there} printed in {full.table}.")
        return texts

    def _title(self, place: Place) -> str:
        return next(iter(self.read[place].values())).runs[0].dataset.card.title


def _unit(column: Column) -> str:
    """Unit of a shown value, where its heading does not say it."""
    return {1000.0: " mm", 1.0: " m"}.get(column.factor, "") if column.unit == "metres" else ""


def _percent(loss: Interval) -> str:
    return f"{loss.value:z.1f} [{loss.low:z.1f}, {loss.high:z.1f}]"
