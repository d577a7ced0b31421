"""VGGT's aggregator: patch encoder, then alternating frame-wise and global attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fgq_bench.models.interface import Step, call_stage, token_types
from fgq_bench.models.layers import Block, Rotary, rotary_2d
from fgq_bench.models.vit import VisionTransformer, normalize_images


@dataclass(frozen=True)
class Pass:
    """A pass through the aggregator between two blocks."""

    done: int  # blocks that have run, those of the patch encoder first
    x: Tensor  # what the next block takes
    batch: int
    frames: int
    rotaries: tuple[Rotary, Rotary]  # of one frame, and of all frames in a row
    keep: tuple[int, ...]
    frame: Tensor | None = None  # the frame block's output, while the global block of its level is due
    levels: tuple[tuple[int, Tensor], ...] = ()  # kept so far


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

    def begin(self, images: Tensor, keep: tuple[int, ...]) -> Pass:
        """A pass of ``images`` [B, S, 3, H, W] in [0, 1] that will keep the levels ``keep`` and no others."""
        batch, frames = images.shape[:2]
        rotaries = self.rotary((images.shape[-2], images.shape[-1]), frames, images.device)
        x = self.patch_embed.embed(normalize_images(images).flatten(0, 1))
        return Pass(0, x, batch, frames, rotaries, keep)

    def next_block(self, at: Pass, name: str) -> Step | None:
        """The block that runs next, None after the last; ``name`` is this module's own."""
        encoder = self.patch_embed.blocks
        if at.done < len(encoder):
            types = self.patch_embed.token_types(at.rotaries[0][0].shape[0] - self.patch_start, at.x.device)
            return Step(f"{name}.patch_embed.blocks.{at.done}", encoder[at.done], at.x, None, types)
        level, is_global = divmod(at.done - len(encoder), 2)
        if level == self.depth:
            return None
        types = token_types(1, self.patch_start - 1, at.rotaries[0][0].shape[0], at.x.device)
        if is_global:
            block = self.global_blocks[level]
            return Step(f"{name}.global_blocks.{level}", block, at.x, at.rotaries[1], types.repeat(at.frames))
        return Step(f"{name}.frame_blocks.{level}", self.frame_blocks[level], at.x, at.rotaries[0], types)

    def advance(self, at: Pass, output: Tensor) -> Pass:
        """The pass after the next block, given its output."""
        done, encoder = at.done + 1, len(self.patch_embed.blocks)
        if done < encoder:
            return replace(at, done=done, x=output)
        if done == encoder:
            tokens = self.add_special(self.patch_embed.finish(output), at.batch, at.frames)
            return replace(at, done=done, x=tokens.flatten(0, 1))
        level, after_frame = divmod(done - encoder, 2)
        if after_frame:
            return replace(at, done=done, x=output.reshape(at.batch, -1, output.shape[-1]), frame=output)
        assert at.frame is not None
        x, levels = output.reshape(at.frame.shape), at.levels
        if level - 1 in at.keep:
            kept = torch.cat([at.frame, x], -1).unflatten(0, (at.batch, at.frames))
            levels = (*levels, (level - 1, kept))
        return replace(at, done=done, x=x, frame=None, levels=levels)

    def forward(self, images: Tensor, keep: tuple[int, ...]) -> dict[int, Tensor]:
        """Levels ``keep`` -> [B, S, tokens, 2C] (frame output | global output); other levels are never stored."""
        at = self.begin(images, keep)
        while (step := self.next_block(at, "")) is not None:
            at = self.advance(at, call_stage(step.module, step.x, step.rotary))
        return dict(at.levels)
