"""Create and save figures in one style, PNG and PDF, reproducibly."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from fgq_bench.reporting.writing import File, write_file

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # safe for colour blindness
WITHOUT_DATES = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of ``rows`` x ``columns`` axes, ``width`` x ``height`` inches in all."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=(width, height))
    return figure, [list(row) for row in axes]


def save_figure(figure: Figure, stem: Path) -> list[File]:
    """Let ``stem``.png and ``stem``.pdf hold the figure, and close it."""
    take_texts_literally(figure)
    files = []
    for ending, metadata in WITHOUT_DATES.items():
        drawn = BytesIO()
        figure.savefig(drawn, format=ending, dpi=130, metadata=metadata)
        files.append(write_file(stem.with_name(f"{stem.name}.{ending}"), drawn.getvalue()))
    plt.close(figure)
    return files


def take_texts_literally(figure: Figure) -> None:
    """Names with dollar signs are no formulas; only the numbers that Matplotlib itself writes along an axis are."""
    lines = [line for axes in figure.axes for line in (axes.xaxis, axes.yaxis)]
    # set_xticks and set_yticks with labels make a FuncFormatter
    numbered = [line for line in lines if not isinstance(line.get_major_formatter(), FuncFormatter)]
    ticks = [tick for line in numbered for tick in (*line.majorTicks, *line.minorTicks)]
    numbers = {label for tick in ticks for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in numbers:
            text.set_parse_math(False)
