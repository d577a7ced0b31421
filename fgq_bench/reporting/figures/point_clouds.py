"""Point clouds side by side: truth, and what each model reconstructs, from one viewpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgq_bench.geometry import compose_rigid, decode_pose, invert_rigid, unproject_depth
from fgq_bench.loaders.scene import Scene
from fgq_bench.reporting.figures.saving import new_figure, save_figure
from fgq_bench.reporting.writing import File
from fgq_bench.tasks.base import SequencePrediction

PIXELS, ELEVATION, TURN = 220, 35.0, 25.0  # image size; viewpoint in degrees above and beside the first camera


def _viewpoint() -> Tensor:
    """Rotation to a viewer above the first camera: rows are its right, down and forward axes."""
    pitch, yaw = np.radians(ELEVATION), np.radians(TURN)
    about_x = torch.tensor([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = torch.tensor([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    return (about_x @ about_y).double()


def splat(points: Tensor, colours: Tensor, centre: Tensor, radius: float) -> NDArray[np.float64]:
    """Orthographic z-buffered image [PIXELS, PIXELS, 3] of points [N, 3] with colours [N, 3], ``radius`` around ``centre``."""
    local = (points - centre) @ _viewpoint().T / radius
    column, row = (((local[:, i] + 1) / 2 * PIXELS).round().long() for i in (0, 1))
    inside = (column > 0) & (column < PIXELS - 1) & (row > 0) & (row < PIXELS - 1)
    order = local[inside, 2].argsort(descending=True)  # far to near: the nearest is drawn last
    x, y, tint = (value[inside][order].numpy() for value in (column, row, colours))
    image = np.ones((PIXELS, PIXELS, 3))
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        image[y + dy, x + dx] = tint
    return image


def _framing(points: Tensor) -> tuple[Tensor, float]:
    """Centre [3] and radius of the view that shows all but the outermost 2 % of ``points`` on each side."""
    local = points @ _viewpoint().T
    low, high = (torch.quantile(local[:: max(1, len(local) // 100_000)], q, dim=0) for q in (0.02, 0.98))
    return (low + high) / 2 @ _viewpoint(), 0.55 * float((high - low)[:2].max())


def predicted_points(prediction: SequencePrediction, image_hw: tuple[int, int]) -> Tensor:
    """Points [S, H, W, 3] of depth unprojected with the predicted cameras, first camera = world."""
    assert prediction.depth is not None
    assert prediction.pose_enc is not None
    extrinsics, intrinsics = decode_pose(prediction.pose_enc.double(), image_hw)
    return unproject_depth(prediction.depth.double(), extrinsics, intrinsics)


def true_points(scene: Scene) -> Tensor:
    """Points [S, H, W, 3] of the true depth and cameras, first camera = world."""
    assert scene.extrinsics is not None
    assert scene.intrinsics is not None
    assert scene.depth is not None
    first = invert_rigid(scene.extrinsics[:1]).expand_as(scene.extrinsics)
    return unproject_depth(scene.depth.double(), compose_rigid(scene.extrinsics, first), scene.intrinsics)


def measured_depth(scene: Scene) -> Tensor:
    """Which pixels have a true depth, bool [S, H, W]."""
    assert scene.depth is not None
    return scene.depth > 0 if scene.mask is None else scene.mask


def has_points(scene: Scene) -> bool:
    """Whether there is a true point to show: cameras, and depth at the pictures' resolution that is valid somewhere."""
    if scene.depth is None or scene.extrinsics is None or scene.intrinsics is None:
        return False
    return scene.depth.shape[-2:] == scene.images.shape[-2:] and bool(measured_depth(scene).any())


def scaled_points(scene: Scene, prediction: SequencePrediction) -> Tensor:
    """Predicted points [S, H, W, 3], scaled to the truth's median depth."""
    assert scene.depth is not None
    assert prediction.depth is not None
    scale = scene.depth.double().median() / prediction.depth.double().median()
    return predicted_points(prediction, (scene.images.shape[-2], scene.images.shape[-1])) * scale


def draw_point_clouds(scene: Scene, predictions: dict[str, SequencePrediction], stem: Path) -> list[File]:
    """Truth and predictions, each scaled to the truth's median depth, coloured by the images."""
    truth = true_points(scene)
    clouds = {"truth": truth} | {name: scaled_points(scene, each) for name, each in predictions.items()}
    colours = scene.images.permute(0, 2, 3, 1).reshape(-1, 3)
    centre, radius = _framing(truth.reshape(-1, 3))
    figure, axes = new_figure(1, len(clouds), 3 * len(clouds), 3.2)
    for axis, (name, points) in zip(axes[0], clouds.items(), strict=True):
        axis.imshow(splat(points.reshape(-1, 3), colours, centre, radius), interpolation="nearest")
        axis.set_title(name)
        axis.set_axis_off()
    figure.suptitle(f"{scene.sequence}: depth unprojected with predicted cameras, one median scale", fontsize=9)
    return save_figure(figure, stem)
