"""What the matrix kernels share: the order of programs, and how a launch is made."""

# mypy: allow-untyped-decorators

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

GROUP = 8  # token tiles that share a pass over the weight, so that both stay in the L2 cache


@triton.jit
def tile_of_program(program, tokens, channels, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, GROUP: tl.constexpr):  # type: ignore[no-untyped-def]
    """Token tile and channel tile of ``program``: neighbours share a channel tile, groups of ``GROUP`` token tiles."""
    rows = (tokens + TOKENS - 1) // TOKENS
    columns = (channels + CHANNELS - 1) // CHANNELS
    first = program // (GROUP * columns) * GROUP
    height = tl.minimum(rows - first, GROUP)
    within = program % (GROUP * columns)
    return first + within % height, within // height


def is_interpreted(kernel: Any) -> bool:
    """Whether ``kernel`` runs in Triton's interpreter, which knows no inline assembly and no bf16 arithmetic."""
    return not isinstance(kernel, triton.runtime.JITFunction)


def on_device(tensor: Tensor) -> AbstractContextManager[Any]:
    """Launch where ``tensor`` lies, not on whatever GPU is current."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
