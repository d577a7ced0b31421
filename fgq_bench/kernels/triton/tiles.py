"""Tile sizes of every matrix kernel, by size of the output and GPU generation: the one table to tune.

Few tokens: the weight's bytes bound the time, so tiles are small and deep in flight. Many tokens: the tensor cores do.
The last rows of sm_90 are the fastest of ten tiles on an H200, at 1 374 and at 13 740 tokens of VGGT's qkv and fc2; all
else is a rule of thumb, not a measurement.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tile:
    """What one program computes, and how."""

    tokens: int
    channels: int
    depth: int  # columns a step; a power of two up to ``packing.BLOCK_K``
    warps: int
    stages: int  # steps whose loads are in flight

    def options(self) -> dict[str, int]:
        """Launch options of Triton."""
        return {"num_warps": self.warps, "num_stages": self.stages}


Row = tuple[int, int, Tile]  # for at most so many tokens, or at most so many outputs (tokens * channels)
Table = dict[int, list[Row]]  # by compute capability
ANY = 1 << 62
SMALL = 1 << 19  # outputs that tiles of 128 x 128 would leave most multiprocessors without work for

FEW = (16, 0, Tile(16, 32, 256, 4, 4))
SOME = (64, SMALL, Tile(64, 64, 128, 4, 4))
INT8: Table = {
    80: [FEW, SOME, (ANY, 0, Tile(128, 128, 128, 8, 4))],
    89: [FEW, SOME, (ANY, 0, Tile(128, 128, 128, 8, 3))],
    # 128 x 128: two programs fit a multiprocessor, and one's products run while the other waits for its own.
    90: [FEW, SOME, (ANY, 0, Tile(128, 128, 128, 8, 3))],
}
INT4: Table = {
    80: [FEW, SOME, (ANY, 0, Tile(128, 128, 128, 8, 4))],
    89: [FEW, SOME, (ANY, 0, Tile(128, 128, 128, 8, 3))],
    90: [FEW, SOME, (ANY, 0, Tile(128, 128, 128, 8, 4))],
}
MANY = (ANY, 0, Tile(64, 128, 128, 8, 3))
WEIGHT_ONLY: Table = {
    80: [(16, 0, Tile(16, 64, 128, 4, 5)), (64, SMALL, Tile(64, 64, 128, 4, 3)), MANY],
    89: [(16, 0, Tile(16, 64, 128, 4, 5)), (64, SMALL, Tile(64, 64, 128, 4, 3)), MANY],
    # Tiles of 32 channels keep few tokens off the warpgroup instructions, whose operand order costs more to unpack to.
    90: [FEW, (64, SMALL, Tile(64, 64, 128, 4, 3)), MANY],
}


@functools.cache
def generation(device: torch.device) -> int:
    """The newest key of the tables that is not newer than ``device``; interpreted kernels take the oldest."""
    if device.type != "cuda":
        return min(INT8)
    major, minor = torch.cuda.get_device_capability(device)
    return max((known for known in INT8 if known <= 10 * major + minor), default=min(INT8))


def pick(table: Table, tokens: int, channels: int, device: torch.device) -> Tile:
    """The first tile that fits: the same for the same arguments, whatever ran before."""
    rows = table[generation(device)]
    return next(tile for most, outputs, tile in rows if tokens <= most or tokens * channels <= outputs)
