"""VGGT's camera head: iterative refinement of a 9-number pose encoding from the camera tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgq_bench.models.layers import Block, Mlp, at_least_float32


class CameraHead(nn.Module):
    """Camera tokens [B, S, dim] to pose encodings, one per refinement step.

    Each step embeds the detached running sum of the earlier steps (before activation), modulates the tokens with
    it (adaLN) and adds a correction. Key ``poseLN_modulation`` keeps the public checkpoint's name. ``extra_tokens``
    [n, dim], if there are any, stand behind the frames' own (QVGGT's compensation); their outputs are dropped.
    """

    extra_tokens: Tensor | None

    def __init__(self, dim: int, heads: int, depth: int, layer_scale: float, iterations: int = 4) -> None:
        super().__init__()
        self.iterations = iterations
        self.register_buffer("extra_tokens", None, persistent=False)
        self.trunk = nn.ModuleList(Block(dim, heads, eps=1e-5, layer_scale=layer_scale) for _ in range(depth))
        self.token_norm = nn.LayerNorm(dim)
        self.trunk_norm = nn.LayerNorm(dim)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, 9))
        self.embed_pose = nn.Linear(9, dim)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.adaln_norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.pose_branch = Mlp(dim, dim // 2, 9)

    def forward(self, camera_tokens: Tensor) -> list[Tensor]:
        """Activated pose encodings [B, S, 9] after every iteration (fields of view are rectified)."""
        own = camera_tokens.shape[1]
        if self.extra_tokens is not None:
            extra = self.extra_tokens.to(camera_tokens.dtype).expand(len(camera_tokens), -1, -1)
            camera_tokens = torch.cat([camera_tokens, extra], 1)
        tokens = self.token_norm(camera_tokens)
        batch, frames, _ = tokens.shape
        total: Tensor | None = None
        outputs = []
        for _ in range(self.iterations):
            previous = self.empty_pose_tokens.expand(batch, frames, -1) if total is None else total.detach()
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(previous)).chunk(3, -1)
            x = gate * (self.adaln_norm(tokens) * (1 + scale) + shift) + tokens
            for block in self.trunk:
                x = block(x)
            delta = at_least_float32(self.pose_branch(self.trunk_norm(x)))
            total = delta if total is None else total + delta
            outputs.append(torch.cat([total[:, :own, :7], total[:, :own, 7:].relu()], -1))
        return outputs
