"""Sensitivity of every head to quantizing one block, and one kind of linear, at a time (as QVGGT's figure 3a)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from matplotlib.ticker import LogFormatter

from fgq_bench.reporting.figures.fisher_maps import short_name
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.writing import File
from fgq_bench.sensitivity import WHOLE, Sensitivity
from fgq_bench.task_losses import TASKS


def draw_sensitivity(found: list[Sensitivity], protected: list[str], title: str, stem: Path) -> list[File]:
    """Left: every head's relative error by block, those that QVGGT protects marked; right: by linear, mean over blocks."""
    figure, ((blocks, kinds),) = new_figure(1, 2, 9.0, 3.4)
    whole = [each for each in found if each.kind == WHOLE]
    places = range(len(whole))
    for task, colour in zip(TASKS, COLOURS, strict=False):
        errors = [100 * each.errors[task] or float("nan") for each in whole]  # no error has no place on a log axis
        blocks.plot(places, errors, "o-", color=colour, markersize=4, label=task)
    for place, each in zip(places, whole, strict=True):
        if each.stage in protected:
            blocks.axvspan(
                place - 0.4,
                place + 0.4,
                color="0.85",
                zorder=0,
                label="protected" if each.stage == protected[0] else None,
            )
    blocks.set_xticks(
        places, [short_name(each.stage) for each in whole], fontsize=7, rotation=90 if len(whole) > 16 else 0
    )
    blocks.set_yscale("log")
    for axis in (blocks.yaxis.set_major_formatter, blocks.yaxis.set_minor_formatter):
        axis(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    blocks.set_xlabel("the only quantized block (F: frame, G: global attention)")
    blocks.set_ylabel("relative error of the head (%)")
    blocks.legend(fontsize=7)
    means: dict[str, list[Sensitivity]] = defaultdict(list)
    for each in found:
        if each.kind != WHOLE and "_blocks." in each.stage:
            means[each.kind].append(each)
    width = 0.8 / len(TASKS)
    for index, task in enumerate(TASKS):
        heights = [100 * sum(e.errors[task] for e in members) / len(members) for members in means.values()]
        at = [place + (index - (len(TASKS) - 1) / 2) * width for place in range(len(means))]
        kinds.bar(at, heights, width, color=COLOURS[index], label=task)
    kinds.set_xticks(range(len(means)), list(means), fontsize=8)
    kinds.set_xlabel("the only quantized linear, mean over blocks")
    kinds.set_ylabel("relative error of the head (%)")
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, stem)
