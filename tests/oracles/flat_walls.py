"""A scene whose depth is known by heart."""

from __future__ import annotations

import torch

from fgq_bench.loaders.scene import Scene


def flat_wall() -> Scene:
    """A wall 2 m ahead, seen by a camera that steps back by half a metre: depth 2 m, then 2.5 m."""
    poses = torch.eye(3, 4).repeat(2, 1, 1)
    poses[1, 2, 3] = 0.5
    depth = torch.tensor([2.0, 2.5])[:, None, None].expand(2, 12, 16).contiguous()
    intrinsics = torch.tensor([[16.0, 0, 8], [0, 16, 6], [0, 0, 1]]).expand(2, 3, 3)
    return Scene("wall", "wall", torch.zeros(2, 3, 12, 16), poses, intrinsics, depth, depth > 0)
