"""``procedural-objects`` and ``procedural-rooms``: the embedded data sets, rendered when they are read."""

from __future__ import annotations

import re
from typing import Literal

import pydantic
import torch

from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.procedural_scene import Family, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import intrinsics_from_fov, render
from fgq_bench.loaders.scene import Scene


class Procedural(Dataset):
    """Scenes of one family and split. Nothing is stored: 128 sequences of 4 frames render in seconds."""

    class Options(Dataset.Options):
        """Which stream of scenes, and how many."""

        family: Literal["objects", "rooms"]
        split: Literal["test", "calibration", "pool", "validation"] = "test"
        sequences: int = pydantic.Field(ge=1, le=2**20)
        frames: int = pydantic.Field(ge=1, le=2**10)

    options: Options

    def frame_list(self) -> dict[str, list[str]]:
        """Scene names such as ``objects-test-0003``; frames are numbered."""
        o = self.options
        frames = [str(frame) for frame in range(o.frames)]
        return {f"{o.family}-{o.split}-{index:04d}": frames for index in range(o.sequences)}

    def load(self, sequence: str) -> Scene:
        """Render one scene; raises UserError for a name that is not in the list."""
        o = self.options
        match = re.fullmatch(rf"{o.family}-{o.split}-([0-9]{{4,9}})", sequence)
        if match is None or int(match[1]) >= o.sequences:
            raise UserError(f"data set {self.card.name}: no sequence {sequence!r}")
        arrays = draw_scene(Family[o.family.upper()], Split[o.split.upper()], int(match[1]), o.frames)
        images, depth = render(stack_scenes([arrays]), self.setting.image_size, compile=False)
        intrinsics = intrinsics_from_fov(torch.as_tensor(arrays.fov), self.setting.image_size)
        return Scene(
            sequence=sequence,
            category=o.family,
            images=images[0].float() / 255,
            extrinsics=torch.as_tensor(arrays.extrinsics),
            intrinsics=intrinsics.expand(o.frames, 3, 3),
            depth=depth[0],
            mask=torch.ones_like(depth[0], dtype=torch.bool),
        )
