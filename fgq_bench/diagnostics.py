"""What is inside a model: activation magnitudes by block and token type, and whether it really compares views."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fgq_bench.loaders.scene import Scene
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.interface import block_names, shared_copy
from fgq_bench.models.layers import Rotary

NetworkT = TypeVar("NetworkT", bound=AlternatingModel)


def token_slices(model: AlternatingModel) -> dict[str, slice]:
    """Where each token type that the model has sits within a frame's tokens."""
    camera, start = model.trunk.camera_tokens, model.trunk.patch_start
    slices = {"camera": slice(0, camera), "register": slice(camera, start), "patch": slice(start, None)}
    return slices if camera else {token: where for token, where in slices.items() if token != "camera"}


@torch.inference_mode()
def token_magnitudes(model: AlternatingModel, scenes: Iterable[Scene]) -> list[dict[str, Any]]:
    """Mean and maximum |activation| of every alternating block's output, by token type, over ``scenes``.

    One row per block and type: block (F0, G0, F1, ... in the order they run), token, mean, max.
    """
    slices = token_slices(model)
    totals: dict[tuple[str, str], list[float]] = {}
    for scene in scenes:
        levels = model.trunk.levels(scene.images[None].to(model.device), tuple(range(model.trunk.depth)))
        for index, level in levels.items():
            for kind, half in zip("FG", level.float().abs().chunk(2, -1), strict=True):
                for token, where in slices.items():
                    values = half[:, :, where]
                    entry = totals.setdefault((f"{kind}{index}", token), [0.0, 0.0, 0.0])
                    entry[0] += values.mean().item()
                    entry[1] = max(entry[1], values.max().item())
                    entry[2] += 1
    return [{"block": b, "token": t, "mean": s / n, "max": m} for (b, t), (s, m, n) in totals.items()]


class OwnFrame(nn.Module):
    """A global block whose tokens may only attend to their own frame."""

    def __init__(self, block: nn.Module, tokens: int) -> None:
        super().__init__()
        self.block, self.tokens = block, tokens

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        """Map tokens ``x`` [B, S * tokens, C], each frame by itself."""
        batch, total, dim = x.shape
        own = (rotary[0][: self.tokens], rotary[1][: self.tokens])
        out: Tensor = self.block(x.reshape(-1, self.tokens, dim), own)
        return out.reshape(batch, total, dim)


def without_views(model: NetworkT, image_hw: tuple[int, int]) -> NetworkT:
    """A copy that shares all weights but whose global blocks never compare frames (VGGT's camera head still sees all).

    If pose survives this, the model was guessing from single images.
    """
    blind = shared_copy(model)
    tokens = model.trunk.patch_start + (image_hw[0] // model.config.patch) * (image_hw[1] // model.config.patch)
    for name in block_names(model.linear_groups()["aa"])[1::2]:  # every second one is a global block
        blind.set_submodule(name, OwnFrame(blind.get_submodule(name), tokens))
    return blind
