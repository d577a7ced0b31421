"""Contact sheet of a data set: frames and their depth."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes

from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.reporting.figures.saving import take_texts_literally

SEQUENCES, FRAMES = 4, 4
INCHES, NARROWEST = 1.6, 6.4  # of one picture, of the sheet
FARTHEST = 0.99  # quantile of the depth at which the colours end: one stray pixel must not darken the rest


def write_contact_sheet(dataset: Dataset, path: Path) -> None:
    """Write the first sequences' frames (left) and depth (right) to a PNG or PDF; raises UserError."""
    scenes = [dataset.load(name) for name in dataset.sequences()[:SEQUENCES]]
    draw_contact_sheet(f"{dataset.card.title}: {dataset.card.summary}", scenes, path)


def draw_contact_sheet(title: str, scenes: list[Scene], path: Path) -> None:
    """Write the first frames of ``scenes``, one row each, and beside them their depth if any has it; raises UserError."""
    if path.suffix not in (".png", ".pdf"):
        raise UserError(f"{path}: a figure must end in .png or .pdf")
    frames = min(FRAMES, max(len(scene.images) for scene in scenes))
    columns = frames * (2 if any(scene.depth is not None for scene in scenes) else 1)
    width = max(INCHES * columns, NARROWEST)
    heights = [width / columns * scene.images.shape[-2] / scene.images.shape[-1] + 0.3 for scene in scenes]
    heading = textwrap.wrap(title, int(width * 14))
    top = 0.2 + 0.15 * len(heading)
    figure, axes = plt.subplots(
        len(scenes), columns, squeeze=False, figsize=(width, sum(heights) + top),
        gridspec_kw={"height_ratios": heights}, layout="constrained",
    )  # fmt: skip
    for axis in axes.flat:
        axis.set_axis_off()
    for row, scene in zip(axes, scenes, strict=True):
        _draw(list(row), scene, frames)
    figure.suptitle("\n".join(heading), fontsize=9)
    take_texts_literally(figure)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=path.suffix[1:], dpi=120))
    plt.close(figure)


def _draw(axes: list[Axes], scene: Scene, frames: int) -> None:
    for axis, image in zip(axes, scene.images[:frames].permute(0, 2, 3, 1).clamp(0, 1).numpy(), strict=False):
        axis.imshow(image, interpolation="nearest")
    axes[0].set_title(scene.sequence, fontsize=8, loc="left")
    if scene.depth is None or scene.mask is None:
        return
    depth = torch.where(scene.mask, scene.depth.float(), torch.nan)[:frames].numpy()
    farthest = float(scene.depth[scene.mask][::97].float().quantile(FARTHEST))
    for axis, plane in zip(axes[frames:], depth, strict=False):
        axis.imshow(plane, cmap="viridis", vmin=0, vmax=farthest, interpolation="nearest")
    axes[frames].set_title(f"z-depth, 0 to {farthest:.1f} m", fontsize=8, loc="left")
