"""π³ (pi3): images to cameras, depth and points without a reference view (clean-room, keys of yyfz233/Pi3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import FiniteFloat
from torch import Tensor, nn

from fgq_bench.models.alternating import Alternating, AlternatingModel, NamedBlock, Pass
from fgq_bench.models.interface import ROLES, Count, ModelConfig, Size, Step, check_multiple
from fgq_bench.models.layers import Block, at_least_float32
from fgq_bench.models.pi3_heads import ExpertDecoder, PixelHead, PoseHead
from fgq_bench.models.pi3_outputs import Reconstruction, activate_local
from fgq_bench.models.predictions import Predictions
from fgq_bench.models.vit import IMAGENET_MEAN, IMAGENET_STD, VisionTransformer


@dataclass(frozen=True)
class Pi3Config(ModelConfig):
    """Sizes of a π³; the defaults are those of yyfz233/Pi3.

    ``depth`` counts levels, a frame block and a global block each; the expert decoders read both outputs of the last
    with heads as wide as the trunk's: their positions are the same.
    """

    dim: Size = 1024
    heads: Size = 16
    depth: Size = 18
    registers: Count = 5
    patch: Size = 14
    vit_depth: Count = 24
    vit_heads: Size = 16
    vit_grid: Size = 37
    expert_dim: Size = 1024
    expert_depth: Count = 5
    camera_dim: Size = 512
    layer_scale: FiniteFloat = 0.01
    image_size: Size = 518

    def __post_init__(self) -> None:
        check_multiple("heads", self.dim, 4 * self.heads)  # rotary_2d needs a multiple of 4 per head
        check_multiple("vit_heads", self.dim, self.vit_heads)
        check_multiple("expert_dim", self.expert_dim, self.dim // self.heads)

    @property
    def special_tokens(self) -> int:
        """See ``ModelConfig``: registers only."""
        return self.registers

    def build(self) -> Pi3:
        """See ``ModelConfig``."""
        return Pi3(self)


@dataclass(frozen=True)
class Pi3Pass:
    """A forward pass between two stages."""

    blocks: Pass
    image_hw: tuple[int, int]
    camera: Tensor | None = None  # the camera decoder's output [B * S, tokens, camera_dim]


class Pi3(AlternatingModel, Alternating):
    """Permutation-equivariant visual geometry learning (Wang et al., arXiv:2507.13347).

    No frame is special and no token is the camera's: registers are the same in all frames, poses are read from all
    patches. ``image_mean`` and ``image_std`` hold ImageNet's constants, because the public checkpoint stores them.

    >>> model = Pi3(Pi3Config())          # see checkpoints.load_model for weights
    >>> predictions = model(torch.rand(1, 4, 3, 518, 518))
    """

    components: ClassVar[dict[str, tuple[str, ...]]] = {
        "dino": ("encoder.",),
        "aa": ("decoder.", "register_token"),
        "camera": ("camera_decoder.", "camera_head."),
        "heads": ("",),
    }
    autocast: ClassVar[tuple[str, ...]] = (
        "encoder.", "register_token", "decoder.", "point_decoder.", "conf_decoder.", "camera_decoder.",
    )  # fmt: skip
    heads: ClassVar[tuple[str, ...]] = (
        "point_decoder", "conf_decoder", "camera_decoder", "point_head", "conf_head", "camera_head",
    )  # fmt: skip
    has_camera_token: ClassVar[bool] = False
    config: Pi3Config

    def __init__(self, config: Pi3Config) -> None:
        super().__init__()
        self.config = c = config
        self.head_dim, self.depth = c.dim // c.heads, c.depth
        self.camera_tokens, self.patch_start = 0, c.registers
        self.encoder = VisionTransformer(
            c.dim, c.vit_heads, c.vit_depth, c.patch, c.vit_grid, 4, c.layer_scale, mask_token=False
        )
        self.register_token = nn.Parameter(torch.randn(1, 1, c.registers, c.dim) * 1e-6)
        self.decoder = nn.ModuleList(
            Block(c.dim, c.heads, eps=1e-6, qk_norm=True, layer_scale=c.layer_scale) for _ in range(2 * c.depth)
        )

        def expert(out: int) -> ExpertDecoder:
            return ExpertDecoder(2 * c.dim, c.expert_dim, c.expert_dim // self.head_dim, c.expert_depth, out)

        self.point_decoder, self.point_head = expert(c.expert_dim), PixelHead(c.expert_dim, 3, c.patch)
        self.conf_decoder, self.conf_head = expert(c.expert_dim), PixelHead(c.expert_dim, 1, c.patch)
        self.camera_decoder, self.camera_head = expert(c.camera_dim), PoseHead(c.camera_dim)
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    @property
    def trunk(self) -> Alternating:
        """See ``AlternatingModel``."""
        return self

    @property
    def kept_levels(self) -> tuple[int, ...]:
        """See ``AlternatingModel``."""
        return (self.config.depth - 1,)

    @property
    def patch_encoder(self) -> tuple[str, VisionTransformer]:
        """See ``Alternating``."""
        return "encoder", self.encoder

    def level(self, index: int) -> tuple[NamedBlock, NamedBlock]:
        """See ``Alternating``."""
        frame, all_frames = 2 * index, 2 * index + 1
        return (f"decoder.{frame}", self.decoder[frame]), (f"decoder.{all_frames}", self.decoder[all_frames])

    def special(self, frames: int) -> Tensor:
        """See ``Alternating``."""
        return self.register_token.expand(-1, frames, -1, -1)

    def linear_groups(self) -> dict[str, list[str]]:
        """Linears by group; the point and confidence decoders and what is behind the camera decoder stay float."""

        def of(prefix: str, depth: int) -> list[str]:
            return [f"{prefix}.{index}.{role}" for index in range(depth) for role in ROLES]

        c = self.config
        camera = of("camera_decoder.blocks", c.expert_depth)
        return {
            "aa": of("decoder", 2 * c.depth),
            "camera": ["camera_decoder.projects", *camera, "camera_decoder.linear_out"],
            "dino": of("encoder.blocks", c.vit_depth),
        }

    def begin(self, images: Tensor, dense: bool = True) -> Pi3Pass:
        """See ``ReconstructionModel``; raises ValueError unless H and W are multiples of the patch size."""
        return Pi3Pass(self.start(images, self.kept_levels), (images.shape[-2], images.shape[-1]))

    def next_stage(self, state: Pi3Pass) -> Step | None:
        """See ``ReconstructionModel``; stages: encoder blocks, frame and global blocks in turn, the camera decoder."""
        block = self.next_block(state.blocks)
        if block is not None or state.camera is not None:
            return block
        types = self.token_types(state.blocks)
        return Step("camera_decoder", self.camera_decoder, self.feature(state), state.blocks.rotaries[0], types)

    def advance(self, state: Pi3Pass, output: Any) -> Pi3Pass:
        """See ``ReconstructionModel``."""
        if self.next_block(state.blocks) is None:
            return replace(state, camera=output)
        return replace(state, blocks=self.after_block(state.blocks, output))

    def finish(self, state: Pi3Pass) -> Predictions:
        """See ``ReconstructionModel``."""
        return self.reconstruct(state).predictions()

    def reconstruct(self, state: Pi3Pass) -> Reconstruction:
        """The network's own outputs of a pass in which no stage is left.

        As in the official code autocast reaches the decoders; pixel and camera heads and all behind them run in fp32.
        """
        feature = self.feature(state)
        return Reconstruction(self.local_points(state, feature), self.confidence(state, feature), self.c2w(state))

    @staticmethod
    def feature(state: Pi3Pass) -> Tensor:
        """The last level [B * S, tokens, 2C], without a norm: frame block's output, then the global block's."""
        return state.blocks.levels[0][1].flatten(0, 1)

    def local_points(self, state: Pi3Pass, feature: Tensor) -> Tensor:
        """Points [B, S, H, W, 3] in each camera's own frame, of the ``feature`` of a pass."""
        return activate_local(self._maps(state, self.point_decoder, self.point_head, feature))

    def confidence(self, state: Pi3Pass, feature: Tensor) -> Tensor:
        """Logits [B, S, H, W] that these points are right, likewise."""
        return self._maps(state, self.conf_decoder, self.conf_head, feature)[..., 0]

    def c2w(self, state: Pi3Pass) -> Tensor:
        """Camera-to-world poses [B, S, 3, 4] of a pass in which no stage is left."""
        assert state.camera is not None
        tokens = at_least_float32(state.camera[:, self.patch_start :])
        with torch.autocast(tokens.device.type, enabled=False):
            poses: Tensor = self.camera_head(tokens)
        return self._by_sequence(state, poses)

    def _maps(self, state: Pi3Pass, decoder: ExpertDecoder, head: PixelHead, feature: Tensor) -> Tensor:
        """Maps [B, S, H, W, outputs] in fp32."""
        tokens = at_least_float32(decoder(feature, state.blocks.rotaries[0])[:, self.patch_start :])
        with torch.autocast(tokens.device.type, enabled=False):
            maps: Tensor = head(tokens, state.image_hw)
        return self._by_sequence(state, maps)

    @staticmethod
    def _by_sequence(state: Pi3Pass, x: Tensor) -> Tensor:
        by_sequence: Tensor = x.unflatten(0, (state.blocks.batch, state.blocks.frames))
        return by_sequence
