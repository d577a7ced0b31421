"""Training curve: validation scores over the steps."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.bounded import read_text
from fgq_bench.documents import parse_json
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.writing import File


def draw_training_curve(scores: Path, stem: Path) -> list[File]:
    """Draw every score in ``scores`` (one JSON object per line: step, seconds, scores in [0, 1]) and save to ``stem``."""
    rows = [parse_json(line) for line in read_text(scores).splitlines()]
    names = [name for name in rows[-1] if name not in ("step", "seconds")]
    figure, axes = new_figure(1, 1, 6.0, 3.4)
    axis = axes[0][0]
    for index, name in enumerate(names):
        shown = [(row["step"], row[name]) for row in rows if name in row]
        line = "-" if "objects" in name else "--"
        axis.plot(*zip(*shown, strict=True), line, color=COLOURS[index % 3], label=name)
    axis.set_ylim(0, 1)
    axis.set_xlabel("step")
    figure.legend(*axis.get_legend_handles_labels(), fontsize=7, ncols=3, loc="outside lower center")
    figure.suptitle("validation scores of the averaged weights (sequences of no test split)", fontsize=9)
    return save_figure(figure, stem)
