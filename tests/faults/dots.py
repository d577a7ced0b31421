"""Data sets whose own files name pictures outside of them, under roots that are made of dots."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.outcome import Row
from tests.faults.sweep import Ended, Sweep

FRAMES = 12  # of a clip: the protocol draws ten
OUTSIDE = "../secret/picture.png"
ROOTS = (  # where the command is started, below the data set's folder, and what it is given as root
    (".", "."),
    (".", "./"),
    (".", ""),
    (".", "../data"),
    (".", "..//./data/."),
    ("clip", ".."),
    ("clip/images", "../.."),
)


def write_clip(root: Path, picture: str | None = None) -> Path:
    """A clip of RealEstate10K, prepared; with ``picture`` as the path of every frame's. Returns its camera file."""
    folder = root / "clip" / "images"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (42, 56, 3), dtype=np.uint8)
    frames = []
    for index in range(FRAMES):
        Image.fromarray(noise).save(folder / f"{index:04d}.png")
        pose = np.eye(4)
        pose[0, 3] = 0.1 * index
        frames.append(
            {
                "idx": index, "filepath": picture or f"clip/images/{index:04d}.png", "extrinsics": pose.tolist(),
                "intrinsics": [[50, 0, 28], [0, 50, 21], [0, 0, 1]],
            }
        )  # fmt: skip
    path = root / "clip" / "annotations.json"
    path.write_text(json.dumps(frames))
    return path


def dots(sweep: Sweep) -> list[Row]:
    """``check`` and ``run`` on such a data set: the picture outside is not read, however the root is written."""
    place = sweep.folder / "dots"
    write_clip(place / "data", OUTSIDE)
    (place / "secret").mkdir()
    Image.new("RGB", (56, 42), "red").save(place / "secret" / "picture.png")
    rows = []
    for verb in ("check", "run"):
        row = Row(f"{verb} with a root made of dots", "what lies outside is not read; one line says so")
        for number, (below, root) in enumerate(ROOTS):
            options = ["check", "re10k", "--root", root, "--json"]
            if verb == "run":
                output = place / f"run-{number}"
                options = ["run", "-m", "fp", "-d", "re10k", "-t", "pose", "--root", f"re10k={root}", "-o", str(output)]
            ended = sweep.command(options, partial(os.chdir, place / "data" / below)).wait()
            row.judge("refused", [f"root {root!r} from {below}: {problem}" for problem in _problems(ended)])
        rows.append(row)
    return rows


def _problems(ended: Ended) -> list[str]:
    if ended.problems:
        return ended.problems
    text = " ".join(ended.text.split())
    if ended.code == 0 or ("leads out" not in text and "--root" not in text):  # an empty root may be refused as such
        return [f"exit code {ended.code}, no word of a path that leads out: {text[-200:]!r}"]
    return []
