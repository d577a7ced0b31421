"""DPT head: dense predictions with confidence from four token levels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def position_map(height: int, width: int, channels: int, aspect: float, like: Tensor) -> Tensor:
    """Sinusoidal map [channels, height, width] of normalised image coordinates; ``aspect`` = image width / height.

    The first half of the channels encodes x, the second y; each half is [sin, cos] with frequencies
    100^(-k / (channels / 4)).
    """
    diagonal = math.sqrt(aspect**2 + 1)
    span_x, span_y = aspect / diagonal * (width - 1) / width, 1 / diagonal * (height - 1) / height
    count = channels // 4
    omega = 100.0 ** (-torch.arange(count, dtype=torch.float64, device=like.device) / count)

    def encode(span: float, steps: int) -> Tensor:
        positions = torch.linspace(-span, span, steps, dtype=torch.float64, device=like.device)
        angles = omega[:, None] * positions
        return torch.cat([angles.sin(), angles.cos()]).to(like.dtype)  # [channels / 2, steps]

    x = encode(span_x, width)[:, None, :].expand(-1, height, -1)
    y = encode(span_y, height)[:, :, None].expand(-1, -1, width)
    return torch.cat([x, y])


def add_position(x: Tensor, aspect: float) -> Tensor:
    """Add a tenth of the position map to ``x`` [N, C, h, w]."""
    return x + 0.1 * position_map(x.shape[-2], x.shape[-1], x.shape[1], aspect, x)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize with aligned corners to ``size`` (height, width)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions; the skip carries the *rectified* input, as the official in-place ReLU makes it."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [N, C, h, w] to the same shape."""
        rectified = F.relu(x)
        out: Tensor = self.conv2(F.relu(self.conv1(rectified))) + rectified
        return out


class Fusion(nn.Module):
    """RefineNet fusion: add the skip level, refine, resize, then project."""

    def __init__(self, features: int, has_skip: bool) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        if has_skip:
            self.resConfUnit1 = ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)

    def forward(self, coarser: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Fuse ``coarser`` with ``skip`` (None at the coarsest level) and resize to ``size``."""
        x = coarser if skip is None else coarser + self.resConfUnit1(skip)
        out: Tensor = self.out_conv(resize(self.resConfUnit2(x), size))
        return out


class Scratch(nn.Module):
    """Convolutions that bring the four levels to one width and fuse them (key names of the checkpoint)."""

    def __init__(self, features: int, out_channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        for index, channels in enumerate(out_channels, 1):
            setattr(self, f"layer{index}_rn", nn.Conv2d(channels, features, 3, padding=1, bias=False))
            setattr(self, f"refinenet{index}", Fusion(features, has_skip=index < 4))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, outputs, 1)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Fused map [N, features / 2, 2 * h1, 2 * w1] of the four resized levels, finest first."""
        skips = [getattr(self, f"layer{index}_rn")(level) for index, level in enumerate(maps, 1)]
        sizes = [(skip.shape[-2], skip.shape[-1]) for skip in skips]
        sizes.insert(0, (2 * sizes[0][0], 2 * sizes[0][1]))
        x = skips[3]
        for index in (4, 3, 2, 1):
            skip = skips[index - 1] if index < 4 else None
            x = getattr(self, f"refinenet{index}")(x, skip, sizes[index - 1])
        out: Tensor = self.output_conv1(x)
        return out


class DPTHead(nn.Module):
    """Token levels [B, S, tokens, dim] to raw maps [B, S, H, W, outputs]; activations live in ``vggt.py``."""

    def __init__(self, dim: int, features: int, out_channels: tuple[int, ...], outputs: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.norm = nn.LayerNorm(dim)
        self.projects = nn.ModuleList(nn.Conv2d(dim, channels, 1) for channels in out_channels)
        first, second, _, last = out_channels
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(last, last, 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(features, out_channels, outputs)

    def forward(self, levels: list[Tensor], image_hw: tuple[int, int], patch_start: int) -> Tensor:
        """Raw maps [B, S, H, W, outputs] for images of ``image_hw``; the first ``patch_start`` tokens are skipped."""
        batch, frames = levels[0].shape[:2]
        rows, columns = image_hw[0] // self.patch, image_hw[1] // self.patch
        aspect = image_hw[1] / image_hw[0]
        maps = []
        for level, project, resizer in zip(levels, self.projects, self.resize_layers, strict=True):
            x = self.norm(level[:, :, patch_start:].flatten(0, 1))
            x = project(x.transpose(1, 2).unflatten(2, (rows, columns)))
            maps.append(resizer(add_position(x, aspect)))
        x = self.scratch(maps)
        x = add_position(resize(x, (rows * self.patch, columns * self.patch)), aspect)
        out: Tensor = self.scratch.output_conv2(x).permute(0, 2, 3, 1)
        return out.reshape(batch, frames, *out.shape[1:])
