"""Frames of one sequence to a scene: equal sizes, all or none with pose and depth, values that a camera can measure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.errors import BadData
from fgq_bench.loaders.images import Warp, margins
from fgq_bench.loaders.scene import Scene

NEAREST = 1e-4  # metres: depth at or below it is not valid
PLAUSIBLE = (1e-2, 1e3)  # metres: where the median depth of a sequence lies, if its unit is read rightly
FARTHEST = 1e5  # metres from the origin that a camera may be


@dataclass
class FittedFrame:
    """A frame as the model gets it."""

    pixels: Tensor  # [3, H, W]
    warp: Warp
    extrinsics: Tensor | None  # [3, 4]
    intrinsics: Tensor | None  # [3, 3] pixels
    depth: Tensor | None  # [H, W], or as stored where the protocol scores it there


def stack(sequence: str, category: str, fitted: list[FittedFrame]) -> Scene:
    """A scene of frames, padded with white to one size."""
    width, height = max(f.warp.width for f in fitted), max(f.warp.height for f in fitted)
    for one in fitted:
        if (one.warp.width, one.warp.height) != (width, height):
            _pad(one, width, height)
    intrinsics = [f.intrinsics for f in fitted if f.intrinsics is not None]
    poses = [f.extrinsics for f in fitted if f.extrinsics is not None]
    maps = [f.depth for f in fitted if f.depth is not None]
    for what, found in (("pose", poses), ("intrinsics", intrinsics), ("depth", maps)):
        if len(found) not in (0, len(fitted)):
            raise BadData(f"{len(found)} of {len(fitted)} frames have {what}")
    if len({depth.shape for depth in maps}) > 1:
        raise BadData(f"depth maps differ in size: {sorted({tuple(depth.shape) for depth in maps})}")
    depth = torch.stack(maps).float() if maps else None
    mask = None
    if depth is not None:
        mask = depth.isfinite() & (depth > NEAREST)
        depth = torch.where(mask, depth, torch.zeros(()))
    return Scene(
        sequence,
        category,
        torch.stack([f.pixels for f in fitted]),
        torch.stack(poses).float() if poses else None,
        torch.stack(intrinsics).float() if intrinsics else None,
        depth,
        mask,
    )


def _pad(one: FittedFrame, width: int, height: int) -> None:
    """Put a frame into the middle of a larger white one; there is no depth beside it."""
    if one.depth is not None and one.depth.shape != (one.warp.height, one.warp.width):
        raise BadData("the protocol scores depth as it is stored, but the pictures differ in size")
    left, top, right, bottom = margins(one.warp, width, height)
    one.pixels = F.pad(one.pixels, (left, right, top, bottom), value=1.0)
    one.depth = None if one.depth is None else F.pad(one.depth, (left, right, top, bottom))
    if one.intrinsics is not None:
        one.intrinsics = one.intrinsics + one.intrinsics.new_tensor([[0, 0, left], [0, 0, top], [0, 0, 0]])


def check_geometry(scene: Scene) -> None:
    """Raise BadData for what no camera can have measured: wrong units, matrices that are no rotations."""
    if scene.extrinsics is not None:
        rotation = scene.extrinsics[..., :3].double()
        off = (rotation @ rotation.mT - torch.eye(3, dtype=torch.float64)).abs().amax()
        if off > 1e-2 or bool((torch.linalg.det(rotation) < 0).any()):
            raise BadData(f"a pose is not a rotation and a translation (off by {off:.2g})")
        if float(scene.extrinsics[..., 3].abs().max()) > FARTHEST:
            raise BadData(f"a camera is more than {FARTHEST:.0e} m away: wrong units or a failed reconstruction")
    if scene.intrinsics is not None and bool((scene.intrinsics[:, [0, 1], [0, 1]] <= 0).any()):
        raise BadData("a focal length is not positive")
    if scene.depth is not None and scene.mask is not None:
        if not scene.mask.any():
            raise BadData("no pixel has a valid depth")
        median = float(scene.depth[scene.mask].median())
        if not PLAUSIBLE[0] <= median <= PLAUSIBLE[1]:
            raise BadData(f"the median depth is {median:.3g} m, not between {PLAUSIBLE[0]} and {PLAUSIBLE[1]:.0f}: wrong units?")  # fmt: skip
