"""Lines: peak memory against the number of frames."""

from __future__ import annotations

import math
from pathlib import Path

from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.latency.memory_tables import curves
from fgq_bench.reporting.latency.selection import Setting
from fgq_bench.reporting.writing import File
from fgq_bench.results import Result

MARKERS = ("o", "s", "^", "D", "v")
LEGEND_ROWS = 14


def draw_memory(setting: Setting, runs: dict[str, list[Result]], stem: Path) -> list[File]:
    """Peak allocated MB against frames, one panel per entry of ``runs`` (see ``memory_runs``), one line per variant."""
    variants = list(dict.fromkeys(name for run in runs.values() for name in curves(run)))
    columns = math.ceil(len(variants) / LEGEND_ROWS)
    figure, axes = new_figure(1, len(runs), 3.6 * len(runs) + 1.6 * columns, 3.3)
    for axis, (label, run) in zip(axes[0], runs.items(), strict=True):
        for name, curve in curves(run).items():
            index = variants.index(name)
            counts = sorted(curve)
            megabytes = [curve[count]["peak_bytes"]["allocated"] / 1e6 for count in counts]
            style = {"color": "black", "linestyle": "--"} if name == BASELINE else {"color": COLOURS[(index - 1) % 6]}
            axis.plot(counts, megabytes, marker=MARKERS[index % len(MARKERS)], markersize=5, label=name, **style)  # type: ignore[arg-type]
        axis.set_xticks(sorted({count for curve in curves(run).values() for count in curve}))
        axis.set_ylim(bottom=0)
        axis.set_xlabel("frames")
        axis.set_title(label, fontsize=9)
    axes[0][0].set_ylabel("peak MB")
    labels = {text: line for axis in axes[0] for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        [labels[name] for name in variants],
        variants,
        loc="outside right center",
        fontsize=8,
        frameon=False,
        ncols=columns,
    )
    figure.suptitle(
        f"{setting.model}, {setting.machine}\nWhat a variant holds, plus the peak of one call above it", fontsize=9
    )
    return save_figure(figure, stem)
