"""Writes RealEstate10K on a small scale in its public forms; knows nothing of the loader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from miniature_views import HEIGHT, WIDTH, Views
from numpy.typing import NDArray
from PIL import Image

START, STEP = 158692025, 33367  # microseconds


def write_official(
    root: Path, clip: str, views: Views, cameras: str = "test", pictures: str = "test/{}", suffix: str = ".jpg",
    squash: int = 1,
) -> None:  # fmt: skip
    """``squash``: pictures are stored that many times narrower than they are."""
    folder = root / pictures.format(clip)
    folder.mkdir(parents=True)
    (root / cameras).mkdir(exist_ok=True)
    lines = ["https://www.youtube.com/watch?v=none"]
    for i, w2c in enumerate(views.w2c):
        stamp = START + i * STEP
        Image.fromarray(narrow(views.images[i], squash)).save(folder / f"{stamp}{suffix}")
        k = views.intrinsics
        normalised = [k[0, 0] / WIDTH, k[1, 1] / HEIGHT, k[0, 2] / WIDTH, k[1, 2] / HEIGHT, 0, 0]
        lines.append(" ".join([str(stamp), *(f"{x:.9f}" for x in [*normalised, *w2c.ravel()])]))
    (root / cameras / f"{clip}.txt").write_text("\n".join(lines) + "\n")


def write_prepared(root: Path, clip: str, views: Views) -> None:
    folder = root / clip / "images"
    folder.mkdir(parents=True)
    frames = []
    for i, w2c in enumerate(views.w2c):
        Image.fromarray(views.images[i]).save(folder / f"{i:04d}.png")
        frames.append(
            {
                "idx": i,
                "filepath": f"{clip}/images/{i:04d}.png",
                "intrinsics": views.intrinsics.tolist(),
                "extrinsics": [*w2c.tolist(), [0, 0, 0, 1]],
            }
        )
    (root / clip / "annotations.json").write_text(json.dumps(frames, indent=4))


def narrow(image: NDArray[np.uint8], squash: int) -> NDArray[np.uint8]:
    """Every ``squash`` columns become their mean."""
    rows, columns, channels = image.shape
    mean: NDArray[np.float64] = image.reshape(rows, columns // squash, squash, channels).mean(2)
    return mean.round().astype(np.uint8)
