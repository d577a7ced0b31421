"""DINOv2-style vision transformer with registers: the patch encoder of VGGT (and of pi3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.models.interface import token_types
from fgq_bench.models.layers import Block, at_least_float32

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize_images(images: Tensor) -> Tensor:
    """ImageNet-normalise ``images`` [..., 3, H, W] in [0, 1]."""
    return (images - _channels(IMAGENET_MEAN, images)) / _channels(IMAGENET_STD, images)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    """``values`` as [3, 1, 1], filled in on the device: a CUDA graph cannot copy them from the host."""
    return torch.stack([like.new_full((1, 1), value) for value in values])


class PatchProjection(nn.Module):
    """Non-overlapping patches to tokens."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens [N, patches, dim] of ``images`` [N, 3, H, W], row by row."""
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens


class VisionTransformer(nn.Module):
    """DINOv2 ViT with registers: ``embed``, every one of ``blocks``, ``finish``; the network runs them as stages.

    Some public checkpoints store a ``mask_token``, which inference never reads: with it, their keys are this module's.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        patch: int,
        grid: int,
        registers: int,
        layer_scale: float,
        *,
        mask_token: bool,
    ) -> None:
        super().__init__()
        self.patch, self.grid = patch, grid
        self.patch_embed = PatchProjection(dim, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 1e-6)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + grid * grid, dim) * 0.02)
        self.register_tokens = nn.Parameter(torch.randn(1, registers, dim) * 1e-6)
        self.register_parameter("mask_token", nn.Parameter(torch.zeros(1, dim)) if mask_token else None)
        self.blocks = nn.ModuleList(Block(dim, heads, eps=1e-6, layer_scale=layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """Position embedding [1, 1 + rows * columns, dim], resized (bicubic, antialiased) where the grid differs."""
        if rows == columns == self.grid:
            return self.pos_embed
        cls, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        plane = patches.unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        plane = F.interpolate(at_least_float32(plane), size=(rows, columns), mode="bicubic", antialias=True)
        return torch.cat([cls, plane.flatten(2).transpose(1, 2).to(cls.dtype)], 1)

    def embed(self, images: Tensor) -> Tensor:
        """Input tokens [N, 1 + registers + patches, dim] of normalised ``images`` [N, 3, H, W]."""
        rows, columns = images.shape[-2] // self.patch, images.shape[-1] // self.patch
        tokens = self.patch_embed(images)
        count = tokens.shape[0]
        tokens = torch.cat([self.cls_token.expand(count, -1, -1).to(tokens.dtype), tokens], 1)
        tokens = tokens + self.position_embedding(rows, columns)
        registers = self.register_tokens.expand(count, -1, -1).to(tokens.dtype)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], 1)

    def finish(self, x: Tensor) -> Tensor:
        """Normed patch tokens [N, patches, dim] of the last block's output."""
        normed: Tensor = self.norm(x)
        return normed[:, 1 + self.register_tokens.shape[1] :]

    def token_types(self, patches: int, device: torch.device) -> Tensor:
        """Types [1 + registers + patches] of the blocks' tokens."""
        registers = self.register_tokens.shape[1]
        return token_types(1, registers, 1 + registers + patches, device)
