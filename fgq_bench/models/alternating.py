"""What VGGT and pi3 have in common: a patch encoder, then blocks that see one frame and blocks that see all, in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from fgq_bench.models.interface import ReconstructionModel, Step, call_stage, token_types
from fgq_bench.models.layers import Rotary, rotary_2d
from fgq_bench.models.vit import VisionTransformer, normalize_images

NamedBlock = tuple[str, nn.Module]  # the name is the one within the trunk's module


@dataclass(frozen=True)
class Pass:
    """A pass through the trunk between two blocks."""

    done: int  # blocks that have run, those of the patch encoder first
    x: Tensor  # what the next block takes
    batch: int
    frames: int
    rotaries: tuple[Rotary, Rotary]  # of one frame, and of all frames in a row
    keep: tuple[int, ...]
    frame: Tensor | None = None  # the frame block's output, while the global block of its level is due
    levels: tuple[tuple[int, Tensor], ...] = ()  # kept so far


class Alternating(nn.Module, ABC):
    """Images to token pyramids; a level is a frame block and the global block behind it.

    Token order per frame is [camera tokens, registers, patches]; ``patch_start`` counts those before the patches,
    ``camera_tokens`` those that are neither registers nor patches. A subclass says which modules these are.
    """

    head_dim: int
    depth: int  # levels
    camera_tokens: int
    patch_start: int

    @property
    @abstractmethod
    def patch_encoder(self) -> tuple[str, VisionTransformer]:
        """The patch encoder and its name within this module."""

    @abstractmethod
    def level(self, index: int) -> tuple[NamedBlock, NamedBlock]:
        """Frame block and global block of level ``index``."""

    @abstractmethod
    def special(self, frames: int) -> Tensor:
        """Camera and register tokens [1, frames, patch_start, C] of the frames of a sequence."""

    def add_special(self, patches: Tensor, batch: int, frames: int) -> Tensor:
        """Put camera and register tokens before the ``patches`` [B * S, patches, C]; returns [B, S, tokens, C]."""
        patches = patches.unflatten(0, (batch, frames))
        special = self.special(frames).to(patches.dtype)
        return torch.cat([special.expand(batch, -1, -1, -1), patches], 2)

    def rotary(self, image_hw: tuple[int, int], frames: int, device: torch.device) -> tuple[Rotary, Rotary]:
        """RoPE tables of one frame and of ``frames`` frames in a row."""
        patch = self.patch_encoder[1].patch
        rows, columns = image_hw[0] // patch, image_hw[1] // patch
        grid_rows = torch.arange(1, rows + 1, device=device).repeat_interleave(columns)
        grid_columns = torch.arange(1, columns + 1, device=device).repeat(rows)
        special = torch.zeros(self.patch_start, dtype=torch.long, device=device)
        cos, sin = rotary_2d(torch.cat([special, grid_rows]), torch.cat([special, grid_columns]), self.head_dim)
        return (cos, sin), (cos.repeat(frames, 1), sin.repeat(frames, 1))

    def start(self, images: Tensor, keep: tuple[int, ...]) -> Pass:
        """A pass of ``images`` [B, S, 3, H, W] in [0, 1] that will keep the levels ``keep`` and no others.

        Raises:
            ValueError: H or W is no multiple of the patch size.
        """
        batch, frames = images.shape[:2]
        image_hw, encoder = (images.shape[-2], images.shape[-1]), self.patch_encoder[1]
        if image_hw[0] % encoder.patch or image_hw[1] % encoder.patch:
            size = f"{image_hw[0]}x{image_hw[1]}"
            raise ValueError(f"image size {size} is not a multiple of the patch size {encoder.patch}")
        rotaries = self.rotary(image_hw, frames, images.device)
        x = encoder.embed(normalize_images(images).flatten(0, 1))
        return Pass(0, x, batch, frames, rotaries, keep)

    def next_block(self, at: Pass, prefix: str = "") -> Step | None:
        """The block that runs next, None after the last; ``prefix`` comes before its name."""
        name, encoder = self.patch_encoder
        if at.done < len(encoder.blocks):
            types = encoder.token_types(at.rotaries[0][0].shape[0] - self.patch_start, at.x.device)
            return Step(f"{prefix}{name}.blocks.{at.done}", encoder.blocks[at.done], at.x, None, types)
        level, is_global = divmod(at.done - len(encoder.blocks), 2)
        if level == self.depth:
            return None
        types = self.token_types(at)
        own, block = self.level(level)[is_global]
        return Step(prefix + own, block, at.x, at.rotaries[is_global], types.repeat(at.frames) if is_global else types)

    def token_types(self, at: Pass) -> Tensor:
        """Types [tokens] of a frame's tokens."""
        registers, total = self.patch_start - self.camera_tokens, at.rotaries[0][0].shape[0]
        return token_types(self.camera_tokens, registers, total, at.x.device)

    def after_block(self, at: Pass, output: Tensor) -> Pass:
        """The pass after the next block, given its output."""
        encoder = self.patch_encoder[1]
        done, own = at.done + 1, len(encoder.blocks)
        if done < own:
            return replace(at, done=done, x=output)
        if done == own:
            tokens = self.add_special(encoder.finish(output), at.batch, at.frames)
            return replace(at, done=done, x=tokens.flatten(0, 1))
        level, after_frame = divmod(done - own, 2)
        if after_frame:
            return replace(at, done=done, x=output.reshape(at.batch, -1, output.shape[-1]), frame=output)
        assert at.frame is not None
        x, levels = output.reshape(at.frame.shape), at.levels
        if level - 1 in at.keep:
            kept = torch.cat([at.frame, x], -1).unflatten(0, (at.batch, at.frames))
            levels = (*levels, (level - 1, kept))
        return replace(at, done=done, x=x, frame=None, levels=levels)

    def levels(self, images: Tensor, keep: tuple[int, ...]) -> dict[int, Tensor]:
        """Levels ``keep`` -> [B, S, tokens, 2C] (frame output | global output); other levels are never stored."""
        at = self.start(images, keep)
        while (step := self.next_block(at)) is not None:
            at = self.after_block(at, call_stage(step.module, step.x, step.rotary))
        return dict(at.levels)


class AlternatingModel(ReconstructionModel):
    """A model whose heads read levels of an alternating trunk; ``heads`` names the modules behind it."""

    heads: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def trunk(self) -> Alternating:
        """The patch encoder and the alternating blocks, without any head."""

    @property
    @abstractmethod
    def kept_levels(self) -> tuple[int, ...]:
        """Levels of the trunk that some head reads; all others are freed during the forward pass."""
