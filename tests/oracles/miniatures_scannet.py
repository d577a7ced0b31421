"""Writes ScanNet scenes on a small scale, as SensReader exports them; knows nothing of the loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from miniature_views import Views
from PIL import Image


def write_scene(root: Path, name: str, views: Views, step: int = 1, lost: tuple[int, ...] = ()) -> None:
    """View i becomes frame i * ``step``; the poses of frames in ``lost`` are infinite."""
    scene = root / name
    for folder in ("color", "pose", "intrinsic"):
        (scene / folder).mkdir(parents=True)
    intrinsics = np.eye(4)
    intrinsics[:3, :3] = views.intrinsics
    np.savetxt(scene / "intrinsic" / "intrinsic_color.txt", intrinsics, fmt="%f")
    for i, w2c in enumerate(views.w2c):
        number = i * step
        Image.fromarray(views.images[i]).save(scene / "color" / f"{number}.jpg")
        c2w = np.linalg.inv(np.vstack([w2c, [0, 0, 0, 1]]))
        np.savetxt(scene / "pose" / f"{number}.txt", np.full((4, 4), -np.inf) if number in lost else c2w, fmt="%f")
