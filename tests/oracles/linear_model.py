"""A reconstruction model whose tasks read one block's output linearly: its Fisher information is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgq_bench.models.interface import ReconstructionModel, Step
from fgq_bench.models.predictions import Predictions

BLOCK = "block"
CHANNELS = 32


@dataclass(frozen=True)
class Pass:
    tokens: Tensor  # [B, S * (1 + H * W), C]
    size: tuple[int, int, int]  # S, H, W
    done: bool = False


class Linear(ReconstructionModel):
    """Every pixel is a token, behind one camera token per frame; the only block does nothing.

    depth = 9 + w h, points = (9, 0, 0) + P h, quaternion = (0, 0, 0, 1) + A h of the camera token; w, P, A span three
    orders of magnitude over the channels, each in an order of its own.
    """

    components: ClassVar[dict[str, tuple[str, ...]]] = {"aa": ("",)}
    autocast: ClassVar[tuple[str, ...]] = ("",)

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Identity()
        generator = torch.Generator().manual_seed(0)
        strength = torch.logspace(-5, -2, CHANNELS)

        def readout(rows: int) -> nn.Parameter:
            order = torch.randperm(CHANNELS, generator=generator)
            directions = nn.functional.normalize(torch.randn(rows, CHANNELS, generator=generator), dim=0)
            return nn.Parameter(directions * strength[order], requires_grad=False)

        self.camera, self.depth, self.points = readout(3), readout(1), readout(3)
        self.lift = nn.Parameter(torch.randn(CHANNELS, 3, generator=generator), requires_grad=False)

    def fisher(self) -> dict[str, Tensor]:
        """Fisher information [C] by task, up to a factor: the squared norm of a channel's readout."""
        rows = {"camera": self.camera, "depth": self.depth, "points": self.points}
        return {task: readout.square().sum(0) for task, readout in rows.items()}

    def linear_groups(self) -> dict[str, list[str]]:
        return {"aa": [f"{BLOCK}.{role}" for role in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]}

    def begin(self, images: Tensor, dense: bool = True) -> Pass:
        batch, frames, _, height, width = images.shape
        pixels = images.flatten(3).transpose(2, 3)  # [B, S, HW, 3]
        tokens = torch.cat([pixels.mean(2, keepdim=True), pixels], 2) @ self.lift.T
        return Pass(tokens.reshape(batch, -1, CHANNELS), (frames, height, width))

    def next_stage(self, state: Pass) -> Step | None:
        frames, height, width = state.size
        types = torch.tensor([0] + [2] * (height * width)).repeat(frames)
        return None if state.done else Step(BLOCK, self.block, state.tokens, None, types)

    def advance(self, state: Pass, output: Any) -> Pass:
        return replace(state, tokens=output, done=True)

    def finish(self, state: Pass) -> Predictions:
        frames, height, width = state.size
        tokens = state.tokens.reshape(len(state.tokens), frames, -1, CHANNELS)
        turn, pixels = tokens[:, :, 0] @ self.camera.T, tokens[:, :, 1:].unflatten(2, (height, width))
        still, one = torch.zeros_like(turn), torch.ones_like(turn[..., :1])
        pose = torch.cat([still, turn, one, one, one], -1)
        depth, points = 9 + (pixels @ self.depth.T)[..., 0], pixels @ self.points.T
        points = points + torch.tensor([9.0, 0, 0])
        sure = torch.ones_like(depth)
        return Predictions(pose, depth, sure, points, sure, [pose])
