"""VGGT's aggregator: the alternating trunk with a camera token, and tokens of its own for the reference frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgq_bench.models.alternating import Alternating, NamedBlock
from fgq_bench.models.layers import Block
from fgq_bench.models.vit import VisionTransformer


class Aggregator(Alternating):
    """Images to token pyramids; token order per frame is [camera, registers, patches].

    ``camera_token`` and ``register_token`` hold two variants: index 0 for the reference (first) frame, index 1 for
    every other frame.
    """

    def __init__(
        self, dim: int, heads: int, depth: int, registers: int, vit: VisionTransformer, layer_scale: float
    ) -> None:
        super().__init__()
        self.head_dim, self.depth = dim // heads, depth
        self.camera_tokens, self.patch_start = 1, 1 + registers
        self.patch_embed = vit
        self.camera_token = nn.Parameter(torch.randn(1, 2, 1, dim) * 1e-6)
        self.register_token = nn.Parameter(torch.randn(1, 2, registers, dim) * 1e-6)

        def blocks() -> nn.ModuleList:
            options = {"eps": 1e-5, "qk_norm": True, "layer_scale": layer_scale}
            return nn.ModuleList(Block(dim, heads, **options) for _ in range(depth))  # type: ignore[arg-type]

        self.frame_blocks = blocks()
        self.global_blocks = blocks()

    @property
    def patch_encoder(self) -> tuple[str, VisionTransformer]:
        """See ``Alternating``."""
        return "patch_embed", self.patch_embed

    def level(self, index: int) -> tuple[NamedBlock, NamedBlock]:
        """See ``Alternating``."""
        frame, all_frames = self.frame_blocks[index], self.global_blocks[index]
        return (f"frame_blocks.{index}", frame), (f"global_blocks.{index}", all_frames)

    def special(self, frames: int) -> Tensor:
        """See ``Alternating``."""
        both = torch.cat([self.camera_token, self.register_token], 2)  # [1, 2, 5, C]
        return torch.cat([both[:, :1], both[:, 1:].expand(-1, frames - 1, -1, -1)], 1)

    def forward(self, images: Tensor, keep: tuple[int, ...]) -> dict[int, Tensor]:
        """See ``Alternating.levels``."""
        return self.levels(images, keep)
