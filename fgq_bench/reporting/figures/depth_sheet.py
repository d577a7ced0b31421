"""Predicted depth and its error, full precision beside a quantized model, frame by frame."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from fgq_bench.loaders.scene import Scene
from fgq_bench.reporting.figures.saving import new_figure, save_figure
from fgq_bench.reporting.writing import File
from fgq_bench.tasks.base import SequencePrediction
from fgq_bench.tasks.depth import align_median

ERROR_MAX = 0.3


def _aligned(prediction: SequencePrediction, scene: Scene) -> Tensor:
    assert prediction.depth is not None
    assert scene.depth is not None
    return align_median(prediction.depth.double(), scene.depth.double())


def draw_depth_sheet(
    scene: Scene, predictions: dict[str, SequencePrediction], stem: Path, frames: int = 3
) -> list[File]:
    """Rows: frames; columns: image, true depth, then depth and relative error of each named prediction."""
    assert scene.depth is not None
    count = min(frames, len(scene.images))
    figure, axes = new_figure(count, 2 + 2 * len(predictions), 1.5 * (2 + 2 * len(predictions)), 1.62 * count)
    aligned = {name: _aligned(prediction, scene) for name, prediction in predictions.items()}
    limit = float(scene.depth.max())
    for frame, row in enumerate(axes):
        row[0].imshow(scene.images[frame].permute(1, 2, 0).numpy(), interpolation="nearest")
        row[1].imshow(scene.depth[frame].numpy(), vmin=0, vmax=limit, interpolation="nearest")
        for index, (name, depth) in enumerate(aligned.items()):
            error = ((depth - scene.depth).abs() / scene.depth)[frame]
            row[2 + 2 * index].imshow(depth[frame].numpy(), vmin=0, vmax=limit, interpolation="nearest")
            shown = row[3 + 2 * index].imshow(
                error.numpy(), vmin=0, vmax=ERROR_MAX, cmap="magma", interpolation="nearest"
            )
            row[3 + 2 * index].set_xlabel(f"AbsRel {error.mean():.3f}", fontsize=7)
            if frame == 0:
                row[2 + 2 * index].set_title(f"{name}: depth", fontsize=8)
                row[3 + 2 * index].set_title(f"{name}: error", fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    axes[0][0].set_title("image", fontsize=8)
    axes[0][1].set_title(f"true depth, 0-{limit:.1f} m", fontsize=8)
    figure.colorbar(shown, ax=[row[-1] for row in axes], shrink=0.8, label="relative error")
    figure.suptitle(f"{scene.sequence}: one median scale per sequence", fontsize=9)
    return save_figure(figure, stem)
