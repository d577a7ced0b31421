"""Stacked bars: where the time of every variant goes, and how fast bf16 would be if its linears were free."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.latency.breakdown_tables import bound, free_bound, parts_of
from fgq_bench.reporting.latency.selection import Setting, case_label, succeeded
from fgq_bench.reporting.writing import File
from fgq_bench.results import Result

ROW = 0.26  # inches per bar
LEAST = 0.07  # share of the axis below which a part gets no text
DARK = ("linears", "quantise")  # parts whose text is white
FREE: Final = "-"  # line styles of the two bounds
AT_RATE: Final = ":"


def draw_breakdown(setting: Setting, results: list[Result], layers: list[Result], stem: Path) -> list[File]:
    """One panel per case, one bar per variant; lines show the bf16 time under Amdahl's bounds, triangles the medians.

    Args:
        results: of networks, each with a breakdown.
        layers: results that hold those of layers, for the bound at the layers' rate.
    """
    counts = [len(parts_of(result)) for result in results]
    height = ROW * sum(counts) + 0.62 * len(counts) + 0.95
    figure, axes = new_figure(len(results), 1, 7.6, height)
    panels = [row[0] for row in axes]
    grid = panels[0].get_gridspec()
    assert grid is not None, "these are subplots"
    grid.set_height_ratios([count + 0.6 for count in counts])
    for axis, result in zip(panels, results, strict=True):
        _draw_case(axis, result, layers)
    panels[-1].set_xlabel("ms", fontsize=8)
    figure.legend(handles=_legend(panels[0]), loc="outside lower center", ncols=5, fontsize=7.5, frameon=False)
    figure.suptitle(f"Where the time goes: {setting.model}, {setting.machine}", fontsize=9)
    return save_figure(figure, stem)


def _draw_case(axis: Axes, result: Result, layers: list[Result]) -> None:
    bars, entries = parts_of(result), succeeded(result)
    widest = 1e3 * max(sum(parts.values()) for parts in bars.values())
    for row, (name, parts) in enumerate(bars.items()):
        left = 0.0
        for index, (part, seconds) in enumerate(parts.items()):
            axis.barh(row, 1e3 * seconds, left=left, height=0.8, color=COLOURS[index], label=part if row == 0 else None)
            if 1e3 * seconds > LEAST * widest:
                share = f"{100 * seconds / sum(parts.values()):.0f} %"
                colour = "white" if part in DARK else "black"
                axis.text(left + 500 * seconds, row, share, ha="center", va="center", fontsize=7, color=colour)
            left += 1e3 * seconds
        median = entries[name].get("eager", entries[name])["value"]
        axis.plot(1e3 * median, row - 0.36, marker="v", markersize=6, color="black", markeredgecolor="white", zorder=4)
    _draw_bounds(axis, result, layers, len(bars))
    axis.set_yticks(range(len(bars)), list(bars), fontsize=8)
    axis.set_ylim(len(bars) - 0.45, -0.55)
    axis.set_axisbelow(True)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(_title(result, layers), fontsize=8, loc="left")


def _rates(result: Result, layers: list[Result]) -> dict[str, float]:
    """Bound at the layers' rate by scheme, where that is stored."""
    schemes = dict.fromkeys(str(e["scheme"]) for e in succeeded(result).values() if "scheme" in e)
    limits = {scheme: bound(result, scheme, layers) for scheme in schemes}
    return {scheme: each.at_rate for scheme, each in limits.items() if each is not None and each.at_rate is not None}


def _draw_bounds(axis: Axes, result: Result, layers: list[Result], bars: int) -> None:
    """Vertical lines from the bf16 bar down."""
    shares = parts_of(result).get(BASELINE)
    free = free_bound(result)
    if shares is None or free is None:
        return
    total, where = 1e3 * sum(shares.values()), (-0.45, bars - 0.5)
    style: dict[str, Any] = {"color": "black", "linewidth": 1.3, "zorder": 2.5}
    axis.plot([total / free] * 2, where, linestyle=FREE, **style)
    for rate in _rates(result, layers).values():
        axis.plot([total / rate] * 2, where, linestyle=AT_RATE, **style)


def _title(result: Result, layers: list[Result]) -> str:
    free = free_bound(result)
    if free is None:
        return case_label(result)
    rates = "".join(f", at the {scheme} layers' rate {rate:.2f}x" for scheme, rate in _rates(result, layers).items())
    return f"{case_label(result)}: bound with free linears {free:.2f}x{rates}"


def _legend(axis: Axes) -> list[Any]:
    bars = axis.get_legend_handles_labels()[0]
    return [
        *bars,
        Line2D([], [], color="black", marker="v", linestyle="", markersize=6, label="median of the timed rounds"),
        Line2D([], [], color="black", linestyle=FREE, label="bf16, linears free"),
        Line2D([], [], color="black", linestyle=AT_RATE, label="bf16, linears at the layers' rate"),
    ]
