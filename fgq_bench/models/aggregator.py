"""VGGT's aggregator: patch encoder, then alternating frame-wise and global attention."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from fgq_bench.models.interface import Step, token_types
from fgq_bench.models.layers import Block, Rotary, rotary_2d
from fgq_bench.models.vit import VisionTransformer, normalize_images


class Aggregator(nn.Module):
    """Images to token pyramids; token order per frame is [camera, registers, patches].

    ``camera_token`` and ``register_token`` hold two variants: index 0 for the reference (first) frame, index 1 for
    every other frame.
    """

    def __init__(
        self, dim: int, heads: int, depth: int, registers: int, vit: VisionTransformer, layer_scale: float
    ) -> None:
        super().__init__()
        self.head_dim, self.depth = dim // heads, depth
        self.patch = vit.patch
        self.patch_start = 1 + registers
        self.patch_embed = vit
        self.camera_token = nn.Parameter(torch.randn(1, 2, 1, dim) * 1e-6)
        self.register_token = nn.Parameter(torch.randn(1, 2, registers, dim) * 1e-6)

        def blocks() -> nn.ModuleList:
            options = {"eps": 1e-5, "qk_norm": True, "layer_scale": layer_scale}
            return nn.ModuleList(Block(dim, heads, **options) for _ in range(depth))  # type: ignore[arg-type]

        self.frame_blocks = blocks()
        self.global_blocks = blocks()

    def embed(self, images: Tensor) -> Tensor:
        """Input tokens [B, S, 1 + registers + patches, C] of ``images`` [B, S, 3, H, W] in [0, 1]."""
        batch, frames = images.shape[:2]
        return self.add_special(self.patch_embed(normalize_images(images).flatten(0, 1)), batch, frames)

    def add_special(self, patches: Tensor, batch: int, frames: int) -> Tensor:
        """Put camera and register tokens before the ``patches`` [B * S, patches, C]; returns [B, S, tokens, C]."""
        patches = patches.unflatten(0, (batch, frames))
        special = torch.cat([self.camera_token, self.register_token], 2).to(patches.dtype)  # [1, 2, 5, C]
        special = torch.cat([special[:, :1], special[:, 1:].expand(-1, frames - 1, -1, -1)], 1)
        return torch.cat([special.expand(batch, -1, -1, -1), patches], 2)

    def rotary(self, image_hw: tuple[int, int], frames: int, device: torch.device) -> tuple[Rotary, Rotary]:
        """RoPE tables of one frame and of ``frames`` frames in a row."""
        rows, columns = image_hw[0] // self.patch, image_hw[1] // self.patch
        grid_rows = torch.arange(1, rows + 1, device=device).repeat_interleave(columns)
        grid_columns = torch.arange(1, columns + 1, device=device).repeat(rows)
        special = torch.zeros(self.patch_start, dtype=torch.long, device=device)
        cos, sin = rotary_2d(torch.cat([special, grid_rows]), torch.cat([special, grid_columns]), self.head_dim)
        return (cos, sin), (cos.repeat(frames, 1), sin.repeat(frames, 1))

    def forward(self, images: Tensor, keep: tuple[int, ...]) -> dict[int, Tensor]:
        """Levels ``keep`` -> [B, S, tokens, 2C] (frame output | global output); other levels are never stored."""
        batch, frames = images.shape[:2]
        frame_rotary, global_rotary = self.rotary((images.shape[-2], images.shape[-1]), frames, images.device)
        x = self.embed(images)
        tokens = x.shape[2]
        levels: dict[int, Tensor] = {}
        for level in range(max(keep) + 1):
            frame = self.frame_blocks[level](x.reshape(batch * frames, tokens, -1), frame_rotary)
            x = self.global_blocks[level](frame.reshape(batch, frames * tokens, -1), global_rotary)
            x = x.view(batch, frames, tokens, -1)
            if level in keep:
                levels[level] = torch.cat([frame.view_as(x), x], -1)
        return levels

    def steps(self, images: Tensor, name: str) -> Generator[Step, Tensor, Tensor]:
        """``forward``, suspended before every block; returns the last level [B, S, tokens, 2C]."""
        batch, frames = images.shape[:2]
        rotaries = self.rotary((images.shape[-2], images.shape[-1]), frames, images.device)
        encoder = self.patch_embed.steps(normalize_images(images).flatten(0, 1), f"{name}.patch_embed")
        del images
        patches = yield from encoder
        x = self.add_special(patches, batch, frames)
        tokens = x.shape[2]
        types = token_types(1, self.patch_start - 1, tokens, x.device)
        for level in range(self.depth):
            x = x.reshape(batch * frames, tokens, -1)
            frame = yield Step(f"{name}.frame_blocks.{level}", self.frame_blocks[level], x, rotaries[0], types)
            x = frame.reshape(batch, frames * tokens, -1)
            block = self.global_blocks[level]
            x = yield Step(f"{name}.global_blocks.{level}", block, x, rotaries[1], types.repeat(frames))
        shape = (batch, frames, tokens, -1)
        return torch.cat([frame.view(shape), x.view(shape)], -1)
