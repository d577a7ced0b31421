"""Training batches: scenes drawn and rendered on the fly, targets in VGGT's normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fgq_bench.loaders.procedural_scene import Family, SceneArrays, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import intrinsics_from_fov, render
from fgq_bench.models.targets import targets
from fgq_bench.models.training.recipe import Knobs

_STUDIO_INDEX = 2**40  # scene whose surroundings are the studio's


@dataclass
class Batch:
    """Images and targets; world = first camera, unit length = mean distance of the points from it."""

    images: Tensor  # [B, S, 3, H, W] in [0, 1]
    pose_enc: Tensor  # [B, S, 9]
    depth: Tensor  # [B, S, H, W]
    points: Tensor  # [B, S, H, W, 3]


def move_to_studio(scene: SceneArrays, studio: SceneArrays) -> SceneArrays:
    """Replace the surroundings (room, its textures, the light) of ``scene`` by the studio's."""
    for name in ("half", "centre", "tile", "palette", "seed"):
        getattr(scene, name)[0] = getattr(studio, name)[0]
    scene.light = studio.light
    return scene


def draw_batch(step: int, knobs: Knobs, seed: int) -> SceneArrays:
    """Scenes of optimiser step ``step``: every one is new, and none is in another split."""
    count, frames = knobs.phase.batch, knobs.frames
    rng = np.random.default_rng([seed, step])
    families = np.where(rng.random(count) < knobs.rooms, Family.ROOMS, Family.OBJECTS)
    in_studio = rng.random(count) < knobs.studio
    scenes = []
    for slot in range(count):
        family = Family(int(families[slot]))
        index = (seed << 32) + step * 1024 + slot
        scene = draw_scene(family, Split.TRAIN, index, frames, knobs.spread)
        if in_studio[slot]:
            scene = move_to_studio(scene, draw_scene(family, Split.TRAIN, _STUDIO_INDEX, frames))
        scenes.append(scene)
    return stack_scenes(scenes)


def make_batch(scenes: SceneArrays, size: int, device: torch.device) -> Batch:
    """Render stacked scenes and build their targets."""
    images, depth = render(scenes, size, torch.float32, device)
    extrinsics = torch.as_tensor(scenes.extrinsics, dtype=torch.float32, device=device)
    fov = torch.as_tensor(scenes.fov, dtype=torch.float32, device=device)
    intrinsics = intrinsics_from_fov(fov, size)[:, None].expand(-1, extrinsics.shape[1], -1, -1)
    return Batch(images.float() / 255, *targets(extrinsics, intrinsics, depth))
