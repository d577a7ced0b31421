"""Create and save figures in one style, PNG and PDF, atomically and reproducibly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fgq_bench.files import write_atomically

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


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf, close the figure, return the paths."""

    def write(temporary: Path, ending: str) -> None:
        figure.savefig(temporary, format=ending, dpi=130, metadata=WITHOUT_DATES[ending])

    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in WITHOUT_DATES]
    for path in paths:
        write_atomically(path, lambda temporary, ending=path.suffix[1:]: write(temporary, ending))  # type: ignore[misc]
    plt.close(figure)
    return paths
