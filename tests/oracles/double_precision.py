"""A model that computes in float64 on clips in float64, where what must cancel cancels to the last digits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from fgq_bench.calibration.manifest import CalibrationClips, load_manifest


class DoubleClips(CalibrationClips):
    """A manifest's clips in float64."""

    def __init__(self, manifest: Path) -> None:
        super().__init__(load_manifest(str(manifest)), {})

    def images(self, index: int) -> Tensor:
        return super().images(index).double()


def stir_norms(model: nn.Module) -> None:
    """Give every LayerNorm a weight and bias of its own, so that a wrong fold cannot hide."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm) and module.elementwise_affine:
            module.weight.add_(0.3 * torch.randn_like(module.weight))
            module.bias.add_(0.3 * torch.randn_like(module.bias))
