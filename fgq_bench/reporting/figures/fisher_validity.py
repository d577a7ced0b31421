"""Fisher validity: rank correlations with intervals, and damage by rank."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fgq_bench.fisher_validity.injection import MEASURES
from fgq_bench.fisher_validity.predictors import PERMUTED, VARIANCE
from fgq_bench.fisher_validity.ranking import OCTILES, Ranked
from fgq_bench.fisher_validity.summary import Row
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.writing import File

TITLES = {"rotation": "camera: rotation", "centre": "camera: centre", "depth": "depth", "points": "points"}


def draw_validity(rows: dict[str, Row], ranked: Ranked, estimators: list[str], title: str, stem: Path) -> list[File]:
    """Above: correlations by ranking; below: damage of the channels by octile of the rank, each over its block's mean."""
    figure, (above, below) = new_figure(2, len(MEASURES), 12.0, 5.6)
    places = np.arange(len(rows))[::-1]
    for index, (measure, task) in enumerate(MEASURES.items()):
        axis = above[index]
        for place, row, colour in zip(places, rows.values(), _colours(rows), strict=True):
            cell = row[measure]
            axis.plot([cell["ci_low"], cell["ci_high"]], [place, place], "-", color=colour)
            axis.plot(cell["value"], place, "o", color=colour, markersize=4)
        axis.axvline(0, color="0.5", linewidth=0.8)
        axis.set_xlim(-0.6, 1.02)
        axis.set_yticks(places, list(rows) if index == 0 else [""] * len(rows), fontsize=7)
        axis.set_title(TITLES[measure], fontsize=9)
        axis.set_xlabel("Spearman correlation", fontsize=8)
        lines = {f"{each}, own task": f"{each}:{task}" for each in estimators} | {
            VARIANCE: VARIANCE,
            PERMUTED: PERMUTED,
        }
        for (label, name), colour in zip(lines.items(), _colours(lines), strict=True):
            samples = ranked.octiles[:, ranked.names.index(name), index]
            low, high = np.percentile(samples[1:], [2.5, 97.5], axis=0)
            below[index].plot(range(1, OCTILES + 1), samples[0], "o-", color=colour, markersize=3, label=label)
            below[index].fill_between(range(1, OCTILES + 1), low, high, color=colour, alpha=0.12, linewidth=0)
        below[index].axhline(1, color="0.5", linewidth=0.8)
        below[index].set_xlabel("octile of the channels by rank", fontsize=8)
    below[0].set_ylabel("damage over the block's mean", fontsize=8)
    below[0].legend(fontsize=6)
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, stem)


def _colours(names: Iterable[str]) -> list[str]:
    """One per estimator, whatever of it, and for the variance; greys for the controls."""
    found: dict[str, str] = {VARIANCE: COLOURS[3], PERMUTED: "0.55"}
    for name in names:
        family = name.partition(",")[0]
        if family != name and family not in found:
            found[family] = COLOURS[len(found) - 2]
    return [found.get(name.partition(",")[0], "0.2") for name in names]
