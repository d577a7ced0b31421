"""A paper's table as a picture: the loss of every method, here and as printed, one panel per column."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.papers.comparison import Comparison
from fgq_bench.reporting.papers.layout import PaperColumn, PaperRow
from fgq_bench.reporting.statistics import Interval
from fgq_bench.reporting.writing import File

PANELS = 4  # beside each other
LINEAR = 5.0  # percent: losses beyond are drawn on a logarithmic scale
TICKS = (-1000, -100, -20, -5, 0, 5, 20, 100, 1000)


def draw_paper_losses(compared: Comparison, stem: Path) -> list[File]:
    """Draw the columns in which something is measured, and save to ``stem``; nothing is drawn where there is none."""
    layout = compared.layout
    columns = [c for c in layout.columns if any(compared.measured(row, c) for row in layout.rows)]
    if not columns:
        return []
    rows = [r for r in layout.rows if any(compared.measured(r, c) or compared.printed(r, c) for c in columns)]
    panels = min(PANELS, len(columns))
    lines = -(-len(columns) // panels)
    figure, axes = new_figure(lines, panels, 2.4 * panels + 2.2, lines * (0.2 * len(rows) + 1.1))
    flat = [axis for line in axes for axis in line]
    for index, (axis, column) in enumerate(zip(flat, columns, strict=False)):
        for place, row in enumerate(rows):
            _dot(axis, place - 0.14, compared.measured(row, column), COLOURS[0], "o", "here")
            _dot(axis, place + 0.14, compared.printed(row, column), COLOURS[1], "D", "printed")
        axis.axvline(0, color="0.5", linewidth=0.8)
        axis.set_xscale("symlog", linthresh=LINEAR)
        axis.margins(x=0.08)
        low, high = axis.get_xlim()
        axis.set_xticks([tick for tick in TICKS if low <= tick <= high], minor=False)
        axis.set_xticks([], minor=True)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_yticks(range(len(rows)), [_name(row) for row in rows] if index % panels == 0 else [])
        axis.set_title(_title(column), fontsize=8)
        axis.set_xlabel("loss, % of full precision", fontsize=7)
        axis.tick_params(labelsize=7)
    for axis in flat[len(columns) :]:
        axis.set_visible(False)
    handles, names = next(axis.get_legend_handles_labels() for axis in flat)
    unique = dict(zip(names, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper right", ncols=2, fontsize=8)
    figure.suptitle(
        f"{layout.card.title}: bars are 95 % intervals here, rounding as printed", fontsize=8, ha="left", x=0.01
    )
    return save_figure(figure, stem)


def _dot(axis: Axes, place: float, loss: Interval | None, colour: str, marker: str, label: str) -> None:
    if loss is None:
        return
    error = [[loss.value - loss.low], [loss.high - loss.value]]
    axis.errorbar(
        [loss.value], [place], xerr=error, color=colour, marker=marker, markersize=3.5, linewidth=1, label=label
    )


def _name(row: PaperRow) -> str:
    return f"{row.method} {row.bits}"


def _title(column: PaperColumn) -> str:
    beside = "" if column.place is None else f"\nbeside {column.place.dataset}"
    return f"{column.first.printed.dataset}\n{column.heading}{beside}"
