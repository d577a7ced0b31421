"""Writes CO3Dv2 on a small scale, by the inverse of its documented conventions; knows nothing of the loader."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from miniature_views import HEIGHT, WIDTH, Floats, Views
from PIL import Image

SCALE = 3.7  # scale_adjustment of every depth map


def viewpoint(w2c: Floats, intrinsics: Floats) -> dict[str, Any]:
    """PyTorch3D: x_cam = x_world R + T with +X left and +Y up; NDC with the shorter side from +1 to -1."""
    axes = np.diag([-1.0, -1.0, 1.0])
    rotation, translation = axes @ w2c[:, :3], axes @ w2c[:, 3]
    unit = min(WIDTH, HEIGHT) / 2
    return {
        "R": rotation.T.tolist(),
        "T": translation.tolist(),
        "focal_length": [intrinsics[0, 0] / unit, intrinsics[1, 1] / unit],
        "principal_point": [(WIDTH / 2 - intrinsics[0, 2]) / unit, (HEIGHT / 2 - intrinsics[1, 2]) / unit],
        "intrinsics_format": "ndc_isotropic",
    }


def write_jgz(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))


def read_jgz(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


class Miniature:
    """A copy of CO3Dv2 that grows by sequences; ``finish`` writes the annotations of one form."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.frames: dict[str, list[Any]] = {}  # official records, by category
        self.sequences: dict[str, list[Any]] = {}
        self.lists: dict[str, dict[str, list[Any]]] = {}

    def add(self, category: str, name: str, views: Views, split: str = "test", quality: float | None = 0.9) -> None:
        """A sequence whose frame numbers differ from those in its file names, as in the real data."""
        place = self.root / category / name
        lists = self.lists.setdefault(category, {"train": [], "val": [], "test": []})
        self.sequences.setdefault(category, []).append(
            {
                "sequence_name": name,
                "category": category,
                "video": None,
                "point_cloud": None,
                "viewpoint_quality_score": quality,
            }
        )
        for folder in ("images", "depths", "depth_masks", "masks"):
            (place / folder).mkdir(parents=True, exist_ok=True)
        for i in range(len(views.images)):
            file, number = f"frame{3 * i + 1:06d}", i
            path = f"{category}/{name}/images/{file}.jpg"
            Image.fromarray(views.images[i]).save(self.root / path, quality=97, subsampling=0)
            bits = (views.depth[i] / SCALE).astype(np.float16).view(np.uint16)
            Image.fromarray(bits).save(place / "depths" / f"{file}.jpg.geometric.png")
            valid = np.ones((HEIGHT, WIDTH), dtype=bool)
            valid[:, :5] = False
            Image.fromarray(valid).save(place / "depth_masks" / f"{file}.png")
            self.frames.setdefault(category, []).append(
                {
                    "sequence_name": name,
                    "frame_number": number,
                    "frame_timestamp": 0.1 * i,
                    "image": {"path": path, "size": [HEIGHT, WIDTH]},
                    "depth": {
                        "path": f"{category}/{name}/depths/{file}.jpg.geometric.png",
                        "scale_adjustment": SCALE,
                        "mask_path": f"{category}/{name}/depth_masks/{file}.png",
                    },
                    "mask": {"path": f"{category}/{name}/masks/{file}.png", "mass": 1000.0},
                    "viewpoint": viewpoint(views.w2c[i], views.intrinsics),
                    "meta": {"frame_type": "dev_unseen", "frame_splits": [f"fewview_dev_{split}"]},
                }
            )
            lists[split].append([name, number, path])

    def write_official(self) -> Path:
        for category, frames in self.frames.items():
            place = self.root / category
            write_jgz(place / "frame_annotations.jgz", frames)
            write_jgz(place / "sequence_annotations.jgz", self.sequences[category])
            (place / "set_lists").mkdir(exist_ok=True)
            (place / "set_lists" / "set_lists_fewview_dev.json").write_text(json.dumps(self.lists[category]))
        return self.root

    def write_preprocessed(self, folder: str = ".") -> Path:
        """What VGGT's preprocessing makes of the official files."""
        keys = ("R", "T", "focal_length", "principal_point")
        for category, lists in self.lists.items():
            known = {(f["sequence_name"], f["frame_number"]): f["viewpoint"] for f in self.frames[category]}
            good = {s["sequence_name"] for s in self.sequences[category] if (s["viewpoint_quality_score"] or 0) > 0.5}
            for split in ("train", "test"):
                content: dict[str, list[Any]] = {}
                for name, number, path in lists[split]:
                    if name in good:
                        record = {"filepath": path, **{key: known[name, number][key] for key in keys}}
                        content.setdefault(name, []).append(record)
                write_jgz(self.root / folder / f"{category}_{split}.jgz", content)
        return self.root
