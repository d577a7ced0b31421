"""Contact sheet of a data set: frames and their depth."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.scene import Scene

SEQUENCES, FRAMES, INCHES = 4, 4, 1.6


def _draw(axes: list[Axes], scene: Scene) -> None:
    frames = scene.images[:FRAMES].permute(0, 2, 3, 1).clamp(0, 1).numpy()
    for axis, image in zip(axes[:FRAMES], frames, strict=False):
        axis.imshow(image, interpolation="nearest")
    axes[0].set_title(scene.sequence, fontsize=8, loc="left")
    if scene.depth is None:
        return
    depth = scene.depth[:FRAMES].numpy()
    for axis, plane in zip(axes[FRAMES:], depth, strict=False):
        shown = axis.imshow(plane, cmap="viridis", vmin=0, vmax=float(depth.max()), interpolation="nearest")
    axes[FRAMES].set_title(f"z-depth, 0 to {depth.max():.1f} m", fontsize=8, loc="left")
    shown.set_clim(0, float(depth.max()))


def write_contact_sheet(dataset: Dataset, path: Path) -> None:
    """Write the first sequences' frames (left) and depth (right) to a PNG or PDF; raises UserError."""
    if path.suffix not in (".png", ".pdf"):
        raise UserError(f"{path}: a figure must end in .png or .pdf")
    names = dataset.sequences()[:SEQUENCES]
    figure, axes = plt.subplots(
        len(names), 2 * FRAMES, squeeze=False, figsize=(2 * FRAMES * INCHES, len(names) * INCHES)
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, name in zip(axes, names, strict=True):
        _draw(list(row), dataset.load(name))
    figure.suptitle(f"{dataset.card.title}: {dataset.card.summary}", fontsize=9)
    figure.tight_layout()
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=path.suffix[1:], dpi=120))
    plt.close(figure)
