"""VGGT: images to cameras, depth and world points (clean-room, state-dict compatible with facebook/VGGT-1B)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import FiniteFloat
from torch import Tensor

from fgq_bench.models.aggregator import Aggregator
from fgq_bench.models.alternating import AlternatingModel, Pass
from fgq_bench.models.camera_head import CameraHead
from fgq_bench.models.dpt_head import DPTHead
from fgq_bench.models.interface import ROLES, Count, ModelConfig, Size, Step, check_multiple, token_types
from fgq_bench.models.layers import at_least_float32
from fgq_bench.models.predictions import Predictions
from fgq_bench.models.vit import VisionTransformer


@dataclass(frozen=True)
class VGGTConfig(ModelConfig):
    """Sizes of a VGGT; the defaults are VGGT-1B's.

    ``dpt_levels`` are the levels (frame block + global block) that the two dense heads read; the camera head reads
    the last one.
    """

    dim: Size = 1024
    heads: Size = 16
    depth: Size = 24
    registers: Count = 4
    patch: Size = 14
    vit_depth: Count = 24
    vit_heads: Size = 16
    vit_grid: Size = 37
    camera_depth: Count = 4
    camera_heads: Size = 16
    dpt_features: Size = 256
    dpt_channels: tuple[Size, Size, Size, Size] = (256, 512, 1024, 1024)
    dpt_levels: tuple[Count, Count, Count, Count] = (4, 11, 17, 23)
    layer_scale: FiniteFloat = 0.01
    image_size: Size = 518

    def __post_init__(self) -> None:
        check_multiple("heads", self.dim, 4 * self.heads)  # rotary_2d needs a multiple of 4 per head
        check_multiple("vit_heads", self.dim, self.vit_heads)
        check_multiple("camera_heads", 2 * self.dim, self.camera_heads)
        check_multiple("dpt_features", self.dpt_features, 8)  # position_map needs a multiple of 4, once of the half
        for channels in self.dpt_channels:
            check_multiple("dpt_channels", channels, 4)
        if max(self.dpt_levels) >= self.depth:
            raise ValueError(f"dpt_levels: there are only {self.depth} levels, counted from 0")

    @property
    def special_tokens(self) -> int:
        """See ``ModelConfig``: camera token and registers."""
        return 1 + self.registers

    def build(self) -> VGGT:
        """See ``ModelConfig``."""
        return VGGT(self)


def activate_depth(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Depth and confidence [B, S, H, W] of raw maps [B, S, H, W, 2]."""
    return raw[..., 0].exp(), 1 + raw[..., 1].exp()


def activate_points(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Points [B, S, H, W, 3] and confidence of raw maps [B, S, H, W, 4]: sign(y) * expm1(|y|)."""
    value = raw[..., :3]
    return value.sign() * value.abs().expm1(), 1 + raw[..., 3].exp()


@dataclass(frozen=True)
class VGGTPass:
    """A forward pass between two stages."""

    aggregator: Pass
    image_hw: tuple[int, int]
    poses: list[Tensor] | None = None  # the camera head's output


class VGGT(AlternatingModel):
    """Visual Geometry Grounded Transformer (Wang et al., CVPR 2025), without its track head.

    >>> model = VGGT(VGGTConfig())          # VGGT-1B; see checkpoints.load_model for weights
    >>> predictions = model(torch.rand(1, 4, 3, 518, 518))
    """

    components: ClassVar[dict[str, tuple[str, ...]]] = {
        "dino": ("aggregator.patch_embed.",),
        "aa": ("aggregator.",),
        "camera": ("camera_head.",),
        "heads": ("",),
    }
    autocast: ClassVar[tuple[str, ...]] = ("aggregator.",)
    heads: ClassVar[tuple[str, ...]] = ("camera_head", "depth_head", "point_head")
    ignored: ClassVar[tuple[str, ...]] = ("track_head.",)
    has_camera_token: ClassVar[bool] = True
    config: VGGTConfig

    def __init__(self, config: VGGTConfig) -> None:
        super().__init__()
        self.config = c = config
        vit = VisionTransformer(c.dim, c.vit_heads, c.vit_depth, c.patch, c.vit_grid, 4, c.layer_scale, mask_token=True)
        self.aggregator = Aggregator(c.dim, c.heads, c.depth, c.registers, vit, c.layer_scale)
        self.camera_head = CameraHead(2 * c.dim, c.camera_heads, c.camera_depth, c.layer_scale)
        self.point_head = DPTHead(2 * c.dim, c.dpt_features, c.dpt_channels, 4, c.patch)
        self.depth_head = DPTHead(2 * c.dim, c.dpt_features, c.dpt_channels, 2, c.patch)

    @property
    def trunk(self) -> Aggregator:
        """See ``AlternatingModel``."""
        return self.aggregator

    @property
    def kept_levels(self) -> tuple[int, ...]:
        """See ``AlternatingModel``."""
        return tuple(sorted({*self.config.dpt_levels, self.config.depth - 1}))

    def linear_groups(self) -> dict[str, list[str]]:
        """Linears by group; ``embed_pose`` (9 inputs) and ``pose_branch.fc2`` (9 outputs) stay float."""

        def of(prefix: str, depth: int) -> list[str]:
            return [f"{prefix}.{index}.{role}" for index in range(depth) for role in ROLES]

        c = self.config
        frame, global_ = of("aggregator.frame_blocks", c.depth), of("aggregator.global_blocks", c.depth)
        paired = [name for i in range(0, len(frame), 4) for name in (*frame[i : i + 4], *global_[i : i + 4])]
        camera = of("camera_head.trunk", c.camera_depth)
        return {
            "aa": paired,
            "camera": [*camera, "camera_head.poseLN_modulation.1", "camera_head.pose_branch.fc1"],
            "dino": of("aggregator.patch_embed.blocks", c.vit_depth),
        }

    def begin(self, images: Tensor, dense: bool = True) -> VGGTPass:
        """See ``ReconstructionModel``; raises ValueError unless H and W are multiples of the patch size."""
        keep = self.kept_levels if dense else (self.config.depth - 1,)
        return VGGTPass(self.aggregator.start(images, keep), (images.shape[-2], images.shape[-1]))

    def next_stage(self, state: VGGTPass) -> Step | None:
        """See ``ReconstructionModel``; stages: ViT blocks, frame and global blocks in turn, the camera head."""
        block = self.aggregator.next_block(state.aggregator, "aggregator.")
        if block is not None or state.poses is not None:
            return block
        camera = at_least_float32(self._level(state, self.config.depth - 1)[:, :, 0])
        types = token_types(camera.shape[1], 0, camera.shape[1], camera.device)
        return Step("camera_head", self.camera_head, camera, None, types, full_precision=True)

    def advance(self, state: VGGTPass, output: Any) -> VGGTPass:
        """See ``ReconstructionModel``."""
        if self.aggregator.next_block(state.aggregator) is None:
            return replace(state, poses=output)
        return replace(state, aggregator=self.aggregator.after_block(state.aggregator, output))

    def finish(self, state: VGGTPass) -> Predictions:
        """See ``ReconstructionModel``; the dense heads run in fp32, as in the official code."""
        assert state.poses is not None
        start, hw = self.aggregator.patch_start, state.image_hw
        pyramid = [at_least_float32(self._level(state, level)) for level in self.config.dpt_levels]
        with torch.autocast(pyramid[0].device.type, enabled=False):
            depth, depth_conf = activate_depth(self.depth_head(pyramid, hw, start))
            points, points_conf = activate_points(self.point_head(pyramid, hw, start))
        return Predictions(state.poses[-1], depth, depth_conf, points, points_conf, state.poses)

    def add_camera_tokens(self, tokens: Tensor) -> None:
        """See ``ReconstructionModel``."""
        self.camera_head.extra_tokens = tokens.to(self.device)

    @staticmethod
    def _level(state: VGGTPass, level: int) -> Tensor:
        return dict(state.aggregator.levels)[level]
