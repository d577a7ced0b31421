"""A manifest's candidates: where the chosen ones lie among the clusters, and whom the filter rejects."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from fgq_bench.calibration.candidates import Candidates, Features
from fgq_bench.calibration.nfds import Floats
from fgq_bench.calibration.sampling import Choice
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.writing import File

MARKERS = "osD^vph"  # beside the colours, for readers who cannot tell these apart
PALETTE = (*COLOURS, "#882255")
GREY = "#8c8c8c"


def principal_plane(vectors: Floats) -> tuple[Floats, Floats]:
    """Coordinates [N, 2] of ``vectors`` [N, D] in their two main directions, and those directions' variance shares."""
    centred = vectors - vectors.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    shares = singular**2 / max(float((singular**2).sum()), np.finfo(np.float64).tiny)
    missing = max(0, 2 - len(directions))  # vectors of one number (clips of two frames)
    plane = np.pad(centred @ directions[:2].T, ((0, 0), (0, missing)))
    return plane, np.pad(shares[:2], (0, missing))


def draw_choice(title: str, candidates: Candidates, features: Features, choice: Choice, stem: Path) -> list[File]:
    """Draw clusters in the plane of the cosine vectors' main directions beside the sorted scores."""
    figure, (axes,) = new_figure(1, 2, 10.5, 4.9)
    _draw_plane(axes[0], features.cosine.numpy(), choice)
    _draw_scores(axes[1], candidates, choice)
    sources = ", ".join(name for name, _ in candidates.sources)
    rejected, total = int((choice.labels < 0).sum()), len(choice.labels)
    counts = f"{total} candidates from {sources}: {rejected} rejected, {len(choice.chosen)} chosen"
    figure.suptitle(f"{title}\n{counts}", fontsize=9)
    return save_figure(figure, stem)


def _draw_plane(axes: Axes, cosine: Floats, choice: Choice) -> None:
    plane, shares = principal_plane(cosine)
    out = choice.labels < 0
    x, y = plane.T
    if out.any():
        axes.scatter(x[out], y[out], s=14, marker="x", lw=0.7, color=GREY, label=f"rejected ({out.sum()})")
    clusters = int(choice.labels.max()) + 1
    for label in range(clusters):
        inside = choice.labels == label
        name = f"cluster {label} ({inside.sum()})" if clusters > 1 else f"kept ({inside.sum()})"
        colour, marker = PALETTE[label % len(PALETTE)], MARKERS[label % len(MARKERS)]
        axes.scatter(x[inside], y[inside], s=14, lw=0, alpha=0.65, color=colour, marker=marker, label=name)
    taken = choice.chosen
    axes.scatter(x[taken], y[taken], s=52, facecolors="none", edgecolors="black", lw=1.1, label=f"chosen ({len(taken)})")  # fmt: skip
    for label in range(clusters if clusters > 1 else 0):
        middle = plane[choice.labels == label].mean(0)
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": PALETTE[label % len(PALETTE)], "lw": 1.2}
        axes.text(middle[0], middle[1], str(label), fontsize=8, weight="bold", ha="center", va="center", bbox=box)
    axes.set_xlabel(f"1st main direction of the cosine vectors ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"2nd main direction ({shares[1]:.0%})")
    axes.set_title("similarity of frame 0 to the other frames", fontsize=9)
    axes.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14), handletextpad=0.3)


def _draw_scores(axes: Axes, candidates: Candidates, choice: Choice) -> None:
    order = np.argsort(choice.scores, kind="stable")
    scores, place = choice.scores[order], np.arange(len(order))
    out, taken = choice.labels[order] < 0, np.isin(order, choice.chosen)
    axes.scatter(place[~out], scores[~out], s=6, lw=0, color=COLOURS[0], label="kept")
    if out.any():
        axes.scatter(place[out], scores[out], s=14, marker="x", lw=0.7, color=GREY, label=_counts("rejected", candidates, order[out]))  # fmt: skip
    axes.scatter(place[taken], scores[taken], s=40, facecolors="none", edgecolors="black", lw=0.9, label=_counts("chosen", candidates, order[taken]))  # fmt: skip
    if choice.threshold is not None:
        axes.axhline(choice.threshold, color=COLOURS[1], lw=1, label=f"threshold: {choice.threshold:.3g}")
        axes.axvspan(place[~out].max() + 0.5, 1.02 * len(order), color=GREY, alpha=0.15, lw=0)
    axes.set_xlim(-0.02 * len(order), 1.02 * len(order))
    axes.set_xlabel("candidates by score")
    axes.set_ylabel("score (high: unusual)")
    axes.set_title("statistics of the deep layers' inputs", fontsize=9)
    axes.legend(fontsize=7, loc="upper left")


def _counts(what: str, candidates: Candidates, indices: np.ndarray) -> str:
    found = Counter(candidates.clips[i].dataset for i in indices.tolist())
    return f"{what}: " + ", ".join(f"{found[name]} {name}" for name, _ in candidates.sources)
