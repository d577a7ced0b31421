"""Accuracy against bits: one panel per metric, one line per method, full precision as a band."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.statistics import interval
from fgq_bench.reporting.tables import Row
from fgq_bench.reporting.writing import File

MARKERS = ("o", "s", "^")


def _cost(row: Row) -> tuple[int, int]:
    """Order of schemes along the axis: weight bits, then activation bits."""
    scheme = row.runs[0].scheme
    return scheme.weight_bits, scheme.activation_bits


def draw_bits(rows: list[Row], columns: list[Column], title: str, stem: Path) -> list[File]:
    """Draw ``columns`` of ``rows`` (one data set) and save to ``stem``; rows without a result are left out.

    Nothing is drawn where no row has one.
    """
    if not any(row.sample(column) for row in rows for column in columns):
        return []
    figure, axes = new_figure(1, len(columns), 3.3 * len(columns) + 1.5, 3.2)
    quantized = sorted((row for row in rows if not row.runs[0].scheme.is_float), key=_cost)
    schemes = list(dict.fromkeys(str(row.runs[0].scheme) for row in quantized))
    methods = list(dict.fromkeys(row.asked.label for row in quantized))
    for axis, column in zip(axes[0], columns, strict=True):
        for row in rows:
            sample = row.sample(column)
            if row.runs[0].scheme.is_float and sample is not None and column.task != "agreement":
                span = interval(sample)
                axis.axhspan(span.low * column.factor, span.high * column.factor, color="0.85", label="full precision")
                axis.axhline(span.value * column.factor, color="0.5", linewidth=1)
        for index, method in enumerate(methods):
            points = [(row, row.sample(column)) for row in quantized if row.asked.label == method]
            aside = 0.5 * ((index + 0.5) / len(methods) - 0.5)  # methods side by side, so that bars do not hide bars
            shown = [
                (schemes.index(str(row.runs[0].scheme)) + aside, interval(s)) for row, s in points if s is not None
            ]
            value = np.array([span.value for _, span in shown]) * column.factor
            error = np.abs(np.array([[span.low, span.high] for _, span in shown]).T * column.factor - value)
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index // len(COLOURS) % len(MARKERS)]
            axis.errorbar(
                [x for x, _ in shown], value, error, color=colour, marker=marker, markersize=4, linewidth=0.8,
                capsize=2, label=method,
            )  # fmt: skip
        if column.task == "agreement":  # full precision is exactly 0 there
            axis.set_yscale("log")
        axis.set_xticks(range(len(schemes)), schemes, rotation=30, ha="right")
        axis.set_title(column.heading)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.suptitle(f"{title}: error bars are 95 % bootstrap intervals over sequences", fontsize=9)
    return save_figure(figure, stem)
