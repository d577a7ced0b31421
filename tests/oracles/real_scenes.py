"""Scenes built straight from the real samples beside the checkout, without any loader: what loaders are measured against."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fgq_bench.geometry import invert_rigid
from fgq_bench.loaders.scene import Scene

REAL = Path(__file__).parents[2].parent / "shared/realdata"
RE10K_CLIPS = [
    "0bf152ef84195293", "0c11dbe781b1c11c", "0f68374b76390082", "2f25826f0d0ef09a", "3f79dc32d575bcdc",
    "4a2d6753676df096",
]  # fmt: skip


def sample(name: str) -> Path:
    """A folder of the real samples; skips the test where they are not."""
    if not (REAL / name).is_dir():
        pytest.skip(f"real sample {name} is not in {REAL}")
    return REAL / name


@cache
def red_kitchen(focal: float = 585.0) -> Scene:
    """10 frames of 7-Scenes, in the depth camera, whose focal length is 585."""
    folder = sample("7scenes/redkitchen/seq-png")
    poses = [np.loadtxt(path) for path in sorted(folder.glob("*.pose.txt"))]
    depth = torch.from_numpy(np.stack([_pixels(path) for path in sorted(folder.glob("*.depth.png"))]) / 1000).float()
    images = [torch.from_numpy(_pixels(path)).permute(2, 0, 1) / 255 for path in sorted(folder.glob("*.color.png"))]
    mask = (depth > 1e-3) & (depth < 10)
    return Scene(
        sequence="redkitchen",
        category="redkitchen",
        images=torch.stack(images),
        extrinsics=invert_rigid(torch.from_numpy(np.stack(poses))[:, :3]),
        intrinsics=_intrinsics(focal, focal, 320, 240).expand(len(depth), 3, 3),
        depth=torch.where(mask, depth, 0.0),
        mask=mask,
    )


@cache
def re10k(clip: str) -> Scene:
    """16 frames of RealEstate10K as they are stored, squashed to 384 x 256."""
    folder = sample("re10k")
    lines = (folder / "cameras" / f"{clip}.txt").read_text().splitlines()[1:]
    rows = np.array([line.split() for line in lines], dtype=np.float64)
    pictures = [folder / "frames" / clip / f"{line.split()[0]}.jpg" for line in lines]
    images = torch.stack([torch.from_numpy(_pixels(path)).permute(2, 0, 1) / 255 for path in pictures])
    height, width = images.shape[-2:]
    cameras = [_intrinsics(width * fx, height * fy, width * cx, height * cy) for fx, fy, cx, cy in rows[:, 1:5]]
    poses = torch.from_numpy(rows[:, 7:].reshape(-1, 3, 4))
    return Scene(clip, "re10k", images, poses, torch.stack(cameras), None, None)


@cache
def co3d_apple() -> Scene:
    """20 frames of a CO3Dv2 apple, 1066 x 1896."""
    folder = sample("co3d/apple")
    cameras = np.load(folder / "gt_cameras.npz")
    paths = sorted(folder.rglob("*.jpg"))
    images = torch.stack([torch.from_numpy(_pixels(path)).permute(2, 0, 1) / 255 for path in paths])
    height, width = images.shape[-2:]
    flip = np.diag([-1.0, -1.0, 1.0])
    poses = np.concatenate([flip @ cameras["gtR"].transpose(0, 2, 1), (cameras["gtT"] @ flip)[..., None]], -1)
    half = min(height, width) / 2
    intrinsics = [_intrinsics(half * x, half * y, width / 2, height / 2) for x, y in cameras["gtFL"]]
    return Scene("apple", "apple", images, torch.from_numpy(poses).double(), torch.stack(intrinsics), None, None)


def _pixels(path: Path) -> NDArray[np.float32]:
    return np.asarray(Image.open(path)).astype(np.float32)


def _intrinsics(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
