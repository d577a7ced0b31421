"""Activation magnitudes per block, by token type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.writing import File


def draw_magnitudes(rows: list[dict[str, Any]], title: str, stem: Path) -> list[File]:
    """Draw the rows of ``diagnostics.token_magnitudes``: mean (solid) and maximum (dashed) on a log axis."""
    figure, axes = new_figure(1, 1, 5.2, 3.2)
    axis = axes[0][0]
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    for index, token in enumerate(dict.fromkeys(row["token"] for row in rows)):
        chosen = {row["block"]: row for row in rows if row["token"] == token}
        for statistic, line in (("mean", "-"), ("max", "--")):
            values = [chosen[block][statistic] for block in blocks]
            axis.plot(blocks, values, line, marker=".", color=COLOURS[index], label=f"{token}, {statistic}")
    axis.set_yscale("log")
    axis.set_ylabel("|activation| of the block's output")
    axis.set_xlabel("block in the order it runs (F: frame, G: global)")
    axis.legend(fontsize=7, ncols=3)
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, stem)
