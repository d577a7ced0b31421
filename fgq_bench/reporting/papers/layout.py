"""A published table's rows and columns, and what each of them is here: a row to run, a metric of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from fgq_bench.cards import DatasetCard, ReportCard, card_names, load_card
from fgq_bench.errors import UserError
from fgq_bench.loaders.setting import Setting
from fgq_bench.quant.scheme import Scheme
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.published import Published, PublishedCell, load_published
from fgq_bench.tasks.aggregate import PER_CATEGORY

FULL_PRECISION = "fp w16a16"
_STAND_INS = {
    "pose-first-camera": "pose", "pointmap-mm": "pointmap", "pointmap-median": "pointmap", "depth-l1": "depth",
}  # fmt: skip
"""Task of a paper's protocol -> the task that is scored on a data set without that protocol."""


_TITLES = {
    "memory_reduction_x": "memory reduction",
    "peak_memory_reduction_x": "peak memory reduction",
    "latency_speedup_x": "speed-up",
    "latency_s": "latency",
    "relative_latency": "relative latency",
    "speedup_param_loading_x": "speed-up of loading",
    "speedup_compute_kernel_x": "speed-up of the kernel",
    "speedup_full_block_x": "speed-up of the block",
    "calib_gpu_hours": "calibration time",
    "calib_GPU_time_min": "calibration time",
    "calib_gpu_memory_GB": "calibration memory",
    "FLOPs_T": "operations",
    "AUC@30_pct_spread": "spread of AUC@30",
    "pearson_r_predicted_vs_measured_block_loss": "Pearson correlation, predicted and measured losses of blocks",
    "NPD_percent_low_end": "loss of point maps, low end",
    "NPD_percent_high_end": "loss of point maps, high end",
}
"""A printed metric's name -> words."""


@dataclass(frozen=True)
class Place:
    """Where a column is scored here."""

    dataset: str
    protocol: str | None  # None: the data set's own


@dataclass(frozen=True)
class PaperColumn:
    """A published column; ``place`` and ``column`` say what stands beside it (None: nothing that is scored)."""

    first: PublishedCell  # any of its cells: all share data set, metric, aggregation, unit
    place: Place | None
    column: Column | None

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the column in its table."""
        return self.first.printed.dataset, self.first.printed.metric, self.first.printed.aggregation

    @property
    def heading(self) -> str:
        """Metric as printed, with the direction in which it gets better."""
        printed = self.first.printed
        name = _TITLES.get(printed.metric, printed.metric)
        kind = next(
            (f" {word}" for word in ("mean", "median") if printed.aggregation.endswith(f"per-scene {word}")), ""
        )
        return f"{name}{kind} {'↑' if self.first.higher_is_better else '↓'}"


@dataclass(frozen=True)
class PaperRow:
    """A published row; ``text`` is the row that is run here, None where it is not a method of this project."""

    method: str  # as printed
    bits: str
    text: str | None


@dataclass(frozen=True)
class Layout:
    """A paper's table."""

    card: ReportCard
    cells: dict[tuple[str, str, str, str, str], PublishedCell]  # by the row's method and bits, and the column's key
    columns: list[PaperColumn]
    rows: list[PaperRow]

    def cell(self, row: PaperRow, column: PaperColumn) -> PublishedCell | None:
        """What the paper prints there."""
        return self.cells.get((row.method, row.bits, *column.key))

    @property
    def texts(self) -> list[str]:
        """The rows that are run, full precision among them."""
        return list(dict.fromkeys([FULL_PRECISION, *(row.text for row in self.rows if row.text)]))

    def parts(self) -> dict[Place, ReportCard]:
        """One plain report for every place that is scored, with the columns of that place."""
        asked: dict[Place, list[str]] = {}
        for each in self.columns:
            if each.place is not None and each.column is not None:
                asked.setdefault(each.place, []).append(f"{each.column.task}.{each.column.metric}")
        plain: dict[str, Any] = {"published": None, "beside": {}, "words": {}, "models": {}, "rows": self.texts}
        return {
            at: self.card.model_copy(
                update={
                    **plain,
                    "datasets": [at.dataset],
                    "protocol": at.protocol,
                    "columns": list(dict.fromkeys(names)),
                }
            )
            for at, names in asked.items()
        }


@cache
def read_published() -> Published:
    """Every printed number, read once."""
    return load_published()


def layout(card: ReportCard) -> Layout:
    """The table that ``card`` names; raises UserError for a paper, table, data set or word that does not exist."""
    assert card.published is not None, "a card of a published table"
    paper, comma, table = card.published.partition(", ")
    if not comma:
        raise UserError(f"report {card.name}: published = {card.published!r} is not of the form 'PAPER, TABLE'")
    cells = read_published().table(paper, table)
    _check_words(card, cells)
    columns = {(c.printed.dataset, c.printed.metric, c.printed.aggregation): c for c in reversed(cells)}
    return Layout(
        card,
        {(c.printed.method, c.printed.bits, c.printed.dataset, c.printed.metric, c.printed.aggregation): c for c in cells},
        [_column(card, cell) for cell in list(columns.values())[::-1]],
        [PaperRow(*row) for row in dict.fromkeys((c.printed.method, c.printed.bits, _text(card, c)) for c in cells)],
    )  # fmt: skip


def _check_words(card: ReportCard, cells: list[PublishedCell]) -> None:
    """Every key of ``beside`` and ``words`` is something that the table says."""
    datasets = {cell.printed.dataset for cell in cells}
    said = {word for cell in cells for word in (*cell.method.split(), cell.scheme, cell.printed.method)}
    for key in card.beside:
        if key not in datasets:
            raise UserError(
                f"report {card.name}: beside: {key!r} is no data set of that table; it has {_list(datasets)}"
            )
    for key in card.words:
        if key not in said:
            raise UserError(f"report {card.name}: words: {key!r} is in no row of that table; they say {_list(said)}")


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _column(card: ReportCard, cell: PublishedCell) -> PaperColumn:
    place = _place(card, cell)
    metric = None if place is None else _metric(place, cell)
    return PaperColumn(cell, place, None if metric is None else Column.parse(metric))


def _place(card: ReportCard, cell: PublishedCell) -> Place | None:
    if card.not_here:
        return None
    if card.beside:
        name = card.beside.get(cell.printed.dataset)
        return None if name is None else Place(name, None)
    return None if cell.protocol is None else Place(cell.dataset, cell.protocol)


def _metric(place: Place, cell: PublishedCell) -> str | None:
    """The metric that stands beside a printed one: itself where the data set offers its task, else its stand-in."""
    task, dot, name = cell.metric.partition(".")
    if not dot:
        return None  # no metric of predictions: a time, a size
    if place.protocol is not None:
        return cell.metric
    offered = Setting.of(load_card(DatasetCard, place.dataset)).tasks
    name = name.removesuffix(PER_CATEGORY)
    if task in offered:
        return f"{task}.{name}"
    stand_in = _STAND_INS.get(task)
    if stand_in not in offered:
        return None
    return f"{stand_in}.{name.replace('_scale', '_median') if task == 'depth-l1' else name}"


def _text(card: ReportCard, cell: PublishedCell) -> str | None:
    """The row to run for a printed row; None where it is not a method of this project."""
    if card.not_here:
        return None
    if cell.is_full_precision:
        return FULL_PRECISION
    label = card.words.get(cell.printed.method, cell.method)
    words = [card.words.get(word, word) for word in label.split()]
    method, *rest = " ".join(words).split()
    scheme = card.words.get(cell.scheme, cell.scheme)
    if method.partition(":")[0] in card_names("methods") and _is_scheme(scheme):
        return " ".join([method, scheme, *rest])
    if label != cell.method or words != label.split() or scheme != cell.scheme:
        raise UserError(f"report {card.name}: words make {f'{method} {scheme}'!r} of a row: no such method or scheme")
    return None


def _is_scheme(text: str) -> bool:
    try:
        Scheme.parse(text)
    except UserError:
        return False
    return True
