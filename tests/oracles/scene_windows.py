"""Whole scenes as the geometry checks take them, and how far their matched points lie from the epipolar lines."""

from __future__ import annotations

import torch

from fgq_bench.geometry_checks.epipolar import epipolar_errors, match_frames
from fgq_bench.geometry_checks.pairs import Window
from fgq_bench.loaders.scene import Scene


def window_of(scene: Scene) -> Window:
    """All frames of a scene, named by their numbers."""
    return Window([str(number) for number in range(len(scene.images))], scene)


def line_distances(scene: Scene) -> tuple[float, float]:
    """Median over pairs of frames of how far matched points lie from their lines, and with inverted poses, pixels."""
    errors = epipolar_errors(window_of(scene), match_frames(scene.images))
    read, inverted = (torch.tensor(values) for values in zip(*((e.read, e.inverted) for e in errors), strict=True))
    return float(read.median()), float(inverted.median())
