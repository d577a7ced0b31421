"""The papers' printed numbers (``reports/published``) in this project's units and names, beside their full precision."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fgq_bench.bounded import read_text
from fgq_bench.cards import content_root
from fgq_bench.errors import UserError
from fgq_bench.reporting.published_names import (
    ERRATA,
    MODELS,
    UNITS,
    dataset_card,
    method_label,
    metric_name,
    scheme_name,
)
from fgq_bench.suggest import unknown

PAPERS = ("fgq", "quantvggt", "qvggt", "concurrent")
_HEADS = ["paper", "table", "model", "method", "bits", "dataset", "metric", "aggregation", "value", "unit", "direction"]


@dataclass(frozen=True)
class Printed:
    """A line of a CSV as the paper prints it."""

    paper: str
    table: str
    model: str
    method: str
    bits: str
    dataset: str
    metric: str
    aggregation: str
    value: str
    unit: str
    direction: str


@dataclass(frozen=True)
class PublishedCell:
    """One printed number; every name is this project's where it has one, else the paper's (see ``printed``)."""

    paper: str  # one of PAPERS
    line: int  # of its CSV
    printed: Printed
    model: str
    method: str  # a report's row without its scheme: "quantvggt rotation=false"
    scheme: str
    dataset: str
    protocol: str | None  # None: no data set of this project
    metric: str  # "task.metric[/category]"
    value: float  # in ``unit``
    half_digit: float  # half a unit of the last printed digit, in ``unit``
    unit: str  # fraction, metres, degrees, seconds, bytes, ratio, operations
    higher_is_better: bool

    @property
    def table(self) -> str:
        """The table that prints it."""
        return self.printed.table

    @property
    def low(self) -> float:
        """The smallest value that is printed like this."""
        return self.value - self.half_digit

    @property
    def high(self) -> float:
        """The largest value that is printed like this."""
        return self.value + self.half_digit

    @property
    def is_full_precision(self) -> bool:
        """Whether nothing is quantized in its row."""
        return self.method == "fp"

    @property
    def error(self) -> float:
        """Distance from a perfect value: the value itself where lower is better, else 1 - value (fractions only)."""
        return 1 - self.value if self.higher_is_better else self.value

    def agrees_with(self, other: PublishedCell) -> bool:
        """Whether one number, rounded, is printed as both."""
        return abs(self.value - other.value) <= self.half_digit + other.half_digit + 1e-12

    def better_than(self, other: PublishedCell) -> bool:
        """Whether the printed value is strictly better."""
        return self.value != other.value and (self.value > other.value) == self.higher_is_better


@dataclass(frozen=True)
class Relative:
    """A value against the full precision of the same table."""

    difference: float  # value - full precision, in the cell's unit
    ratio: float  # value / full precision
    worse_by: float  # relative change, positive where the value is worse than full precision


@dataclass(frozen=True)
class Published:
    """All printed numbers."""

    cells: list[PublishedCell]

    def of(self, paper: str) -> list[PublishedCell]:
        """One paper's numbers; raises UserError with close names."""
        if paper not in PAPERS:
            raise unknown("paper", paper, PAPERS)
        return [cell for cell in self.cells if cell.paper == paper]

    def table(self, paper: str, table: str) -> list[PublishedCell]:
        """One table ("Table 1", "Figure 5"); raises UserError with close names."""
        cells = self.of(paper)
        found = [cell for cell in cells if cell.table == table]
        if not found:
            raise unknown(f"table of {paper}", table, dict.fromkeys(cell.table for cell in cells))
        return found

    def full_precision(self, cell: PublishedCell) -> PublishedCell | None:
        """The full-precision number that ``cell`` is compared with; None where the paper prints none.

        Its own table's; where that has none, what most of the paper's tables print. 16 bits go before 32.
        """
        found = self._full_precision.get(_column(cell), [])
        found = [each for each in found if each.table == cell.table] or found
        found = [each for each in found if each.scheme == "w16a16"] or found
        often = Counter(each.printed.value for each in found)
        return max(found, key=lambda each: often[each.printed.value], default=None)

    def relative(self, cell: PublishedCell) -> Relative | None:
        """``cell`` against its own full precision; None where the paper prints none."""
        full = self.full_precision(cell)
        if full is None or full.value == 0:
            return None
        change = (cell.value - full.value) / full.value
        return Relative(
            cell.value - full.value, cell.value / full.value, -change if cell.higher_is_better else change
        )  # fmt: skip

    @cached_property
    def _full_precision(self) -> dict[tuple[str | None, ...], list[PublishedCell]]:
        found: dict[tuple[str | None, ...], list[PublishedCell]] = {}
        for cell in self.cells:
            if cell.is_full_precision:
                found.setdefault(_column(cell), []).append(cell)
        return found


def _column(cell: PublishedCell) -> tuple[str | None, ...]:
    return cell.paper, cell.printed.paper, cell.model, cell.dataset, cell.protocol, cell.metric


def load_published(folder: Path | None = None) -> Published:
    """Read every paper's CSV in ``folder`` (default: the project's own); raises UserError with file and line."""
    folder = folder or content_root() / "reports" / "published"
    return Published([cell for paper in PAPERS for cell in _read(paper, folder / f"{paper}.csv")])


def _read(paper: str, path: Path) -> Iterator[PublishedCell]:
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}:1: not valid CSV: {error}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if (heads := next(reader, [])) != _HEADS:
            raise UserError(f"{path}:1: the heads must be {','.join(_HEADS)}, not {','.join(heads)}")
        for fields in reader:
            yield _parse(paper, path, reader.line_num, fields)
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num + 1}: not valid CSV: {error}") from None


def _parse(paper: str, path: Path, line: int, fields: list[str]) -> PublishedCell:
    where = f"{path}:{line}"
    if len(fields) != len(_HEADS):
        raise UserError(f"{where}: {len(fields)} fields, not {len(_HEADS)}")
    printed = Printed(*fields)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", printed.value):
        raise UserError(f"{where}: value {printed.value!r} is not a plain number such as 0.973")
    unit = ERRATA.get((paper, printed.metric), printed.unit)
    if unit not in UNITS:
        raise UserError(f"{where}: {unknown('unit', unit, UNITS)}")
    if printed.direction not in ("higher", "lower"):
        raise UserError(f"{where}: direction {printed.direction!r} is neither higher nor lower")
    name, factor = UNITS[unit]
    decimals = len(printed.value.partition(".")[2])
    model = MODELS.get(printed.model, printed.model)
    dataset, protocol = dataset_card(paper, model, printed.dataset)
    return PublishedCell(
        paper, line, printed, model, method_label(paper, printed.method),
        scheme_name(paper, printed.method, printed.bits), dataset, protocol,
        metric_name(paper, printed.metric, printed.aggregation, dataset, protocol),
        float(printed.value) * factor, 0.5 * 10.0**-decimals * factor, name, printed.direction == "higher",
    )  # fmt: skip
