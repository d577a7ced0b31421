"""Scatter of accuracy against latency with its Pareto front; labels are placed where nothing else is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.latency.accuracy import Pair, Scatter
from fgq_bench.reporting.latency.selection import Setting
from fgq_bench.reporting.writing import File

FONT = 7.5  # points
DISTANCES, DIRECTIONS = (9, 16, 24, 34, 46, 60, 76), 16  # where a label may stand around its point, in points
POINT = 5  # half the side of the square around a point that labels stay clear of, in points


def draw_accuracy(setting: Setting, scatter: Scatter, stem: Path) -> list[File]:
    """Degrees of rotation error against ms of the aggregator; bf16 is at 0 degrees."""
    figure, axes = new_figure(1, 1, 7.0, 4.4)
    axis, pairs = axes[0][0], scatter.pairs
    schemes = list(dict.fromkeys(str(pair.entry.get("scheme", "bf16")) for pair in pairs))
    for pair in pairs:
        index = schemes.index(str(pair.entry.get("scheme", "bf16")))
        colour = "black" if not pair.used else COLOURS[(index - 1) % 6]
        value = pair.error.value
        spread = [[max(value - pair.error.low, 0.0)], [max(pair.error.high - value, 0.0)]]
        axis.errorbar(1e3 * pair.seconds, value, spread, fmt="o", markersize=5, color=colour, capsize=2, linewidth=0.8)
    front = scatter.front()
    axis.plot(
        [1e3 * pair.seconds for pair in front], [pair.error.value for pair in front], color="0.6", linewidth=1.2,
        linestyle="--", drawstyle="steps-post", zorder=1, label="Pareto front",
    )  # fmt: skip
    _scale(axis, [pair.error.value for pair in pairs if pair.error.value > 0])
    axis.margins(x=0.12)
    for index, scheme in enumerate(schemes):
        axis.plot([], [], "o", color="black" if scheme == "bf16" else COLOURS[(index - 1) % 6], label=scheme)
    c = scatter.latency.conditions
    axis.set_xlabel(f"aggregator, {c['frames']} x {c['image_size']} px: median ms")
    axis.set_ylabel(f"Δ rotation on {scatter.dataset} (°)")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(f"{setting.model}, {setting.machine}", fontsize=9)
    figure.canvas.draw()  # the layout decides where points are
    _label(axis, pairs)
    return save_figure(figure, stem)


def _scale(axis: Axes, positive: list[float]) -> None:
    """Logarithmic above the smallest error, linear down to 0, where bf16 is."""
    least, most = min(positive, default=1.0), max(positive, default=1.0)
    axis.set_yscale("symlog", linthresh=least / 1.5, linscale=0.4)
    axis.set_ylim(-0.3 * least, 1.8 * most)
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    shown = [0.0, *(tick for tick in ticks if least / 1.5 <= tick <= 1.8 * most)]
    axis.set_yticks(shown, [f"{tick:g}" for tick in shown])
    axis.minorticks_off()


def _label(axis: Axes, pairs: tuple[Pair, ...]) -> None:
    """Write every variant's method beside its point, with a thin line to it where it stands further off."""
    scale = 72 / axis.figure.dpi  # pixels to points
    places = axis.transData.transform([(1e3 * pair.seconds, pair.error.value) for pair in pairs]) * scale
    inside = Bbox(axis.get_window_extent().get_points() * scale)
    taken = [Bbox.from_extents(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in places]
    for pair, (x, y) in zip(pairs, places, strict=True):
        text = str(pair.entry.get("method", pair.variant))
        wide, high = 0.58 * FONT * len(text), 1.3 * FONT
        dx, dy, box = _free_place(x, y, wide, high, taken, inside)
        taken.append(box)
        arrow = (
            {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6}
            if math.hypot(dx, dy) > wide / 2 + 1.6 * FONT
            else None
        )
        note = axis.annotate(
            text, (1e3 * pair.seconds, pair.error.value), (dx, dy), textcoords="offset points", fontsize=FONT,
            ha="center", va="center", arrowprops=arrow, bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "linewidth": 0, "alpha": 0.75},
        )  # fmt: skip
        note.set_in_layout(False)


def _free_place(
    x: float, y: float, wide: float, high: float, taken: list[Bbox], inside: Bbox
) -> tuple[float, float, Bbox]:
    """Offset and box, in points, of the nearest place with the least overlap."""
    best: tuple[float, float, float, Bbox] | None = None
    for distance in DISTANCES:
        for angle in np.linspace(0, 2 * math.pi, DIRECTIONS, endpoint=False):
            dx = (distance + wide / 2) * math.cos(angle)
            dy = (distance + high / 4) * math.sin(angle)
            box = Bbox.from_extents(x + dx - wide / 2, y + dy - high / 2, x + dx + wide / 2, y + dy + high / 2)
            cost = sum(_overlap(box, other) for other in taken) + wide * high - _overlap(box, inside)
            if best is None or cost < best[0] - 1e-6:
                best = (cost, dx, dy, box)
            if cost < 1e-6:
                return dx, dy, box
    assert best is not None
    return best[1:]


def _overlap(a: Bbox, b: Bbox) -> float:
    """Area that both cover, in square points."""
    both = Bbox.intersection(a, b)
    return 0.0 if both is None else float(both.width * both.height)
