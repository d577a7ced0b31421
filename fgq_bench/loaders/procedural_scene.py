"""Random scene descriptions for the procedural data sets: geometry, textures, light and cameras, as plain arrays.

A scene is a box-shaped room (entity 0), ``BOXES`` yaw-rotated boxes and ``SPHERES`` spheres, all textured with
mosaics of flat tiles. World axes: x and y on the floor, z up, metres, floor at z = 0.
Every number comes from ``numpy.random.default_rng([family, split, index])``, so a scene never depends on the machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

BOXES, SPHERES, COLOURS = 6, 4, 4
ENTITIES = 1 + BOXES + SPHERES
Array = NDArray[np.float64]
Rng = np.random.Generator


class Family(IntEnum):
    """Kinds of scene; the value seeds the generator."""

    OBJECTS = 0
    ROOMS = 1


class Split(IntEnum):
    """Disjoint streams of scenes; the value seeds the generator, so no scene can be in two splits."""

    TRAIN = 0
    TEST = 1
    CALIBRATION = 2
    POOL = 3
    VALIDATION = 4


@dataclass
class SceneArrays:
    """One scene (or, stacked, a batch of them). Absent boxes and spheres lie far below the floor with no size."""

    centre: Array  # [ENTITIES, 3] metres
    half: Array  # [ENTITIES, 3] half sizes (sphere: radius three times), metres
    yaw: Array  # [ENTITIES] radians about z
    tile: Array  # [ENTITIES] edge of a texture tile, metres
    palette: Array  # [ENTITIES, 6, COLOURS, 3] colours per face in [0, 1]
    seed: NDArray[np.int64]  # [ENTITIES] texture hash seed
    light: Array  # [3] unit vector towards the light
    extrinsics: Array  # [S, 3, 4] w2c, OpenCV axes
    fov: Array  # [] horizontal field of view, radians (square pixels)


def stack_scenes(scenes: list[SceneArrays]) -> SceneArrays:
    """Batch scenes with the same number of frames along a new first axis."""
    return SceneArrays(*(np.stack([getattr(s, f.name) for s in scenes]) for f in fields(SceneArrays)))


def look_at(eye: Array, target: Array, roll: float) -> Array:
    """w2c extrinsics [3, 4] of a camera at ``eye`` that looks at ``target``, rolled by ``roll`` radians."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = math.cos(roll), math.sin(roll)
    rotation = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
    return np.concatenate([rotation, -rotation @ eye[:, None]], 1)


def _palettes(rng: Rng, contrast: Array) -> Array:
    """Palettes [ENTITIES, 6, COLOURS, 3]: a vivid colour per face, spread by ``contrast`` [ENTITIES] over its tiles."""
    entity = rng.uniform(0.1, 0.9, (ENTITIES, 1, 1, 3))
    face = rng.uniform(0.0, 1.0, (ENTITIES, 6, 1, 3))
    tiles = rng.uniform(-1.0, 1.0, (ENTITIES, 6, COLOURS, 3))
    mixed: Array = np.clip(0.5 * entity + 0.5 * face + contrast[:, None, None, None] * tiles, 0.02, 0.98)
    return mixed


def _empty(rng: Rng, room_half: Array) -> SceneArrays:
    """A textured, lit room without furniture or cameras."""
    centre = np.tile([0.0, 0.0, -100.0], (ENTITIES, 1))
    half = np.full((ENTITIES, 3), 1e-3)
    centre[0], half[0] = [0.0, 0.0, room_half[2]], room_half
    contrast = rng.uniform(0.2, 0.5, ENTITIES)
    light = np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.8, 1.6)])
    return SceneArrays(
        centre=centre,
        half=half,
        yaw=np.zeros(ENTITIES),
        tile=np.concatenate([rng.uniform(0.7, 1.6, 1), rng.uniform(0.15, 0.5, ENTITIES - 1)]),
        palette=_palettes(rng, contrast),
        seed=rng.integers(0, 2**20, ENTITIES),
        light=light / np.linalg.norm(light),
        extrinsics=np.zeros((0, 3, 4)),
        fov=np.asarray(math.radians(rng.uniform(50, 70))),
    )


def draw_objects(rng: Rng, frames: int, spread: float = 1.0) -> SceneArrays:
    """Cameras on an arc around a few objects on the floor of a large room (CO3D-like)."""
    scene = _empty(rng, rng.uniform([4.5, 4.5, 1.6], [6.5, 6.5, 2.6]))
    boxes, spheres = rng.integers(2, 5), rng.integers(1, 4)
    count = boxes + spheres
    slots = np.concatenate([1 + np.arange(boxes), 1 + BOXES + np.arange(spheres)])
    angle = rng.permutation(count) * (2 * math.pi / count) + rng.uniform(-0.4, 0.4, count)
    radius = rng.uniform(0.35, 1.15, count)
    half = rng.uniform([0.15, 0.15, 0.15], [0.4, 0.4, 0.6], (count, 3))
    half[boxes:] = rng.uniform(0.15, 0.38, (spheres, 1))
    scene.half[slots] = half
    scene.centre[slots] = np.stack([radius * np.cos(angle), radius * np.sin(angle), half[:, 2]], 1)
    scene.yaw[slots[:boxes]] = rng.uniform(0, math.pi, boxes)
    start, arc = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(25, 70)) * spread
    azimuth = start + arc * (rng.permutation(frames) + rng.uniform(-0.3, 0.3, frames)) / max(frames - 1, 1)
    elevation = math.radians(rng.uniform(12, 38)) + np.radians(rng.uniform(-6, 6, frames)) * spread
    distance = rng.uniform(2.4, 3.6) * (1 + rng.uniform(-0.12, 0.12, frames) * spread)
    eye = np.stack([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], 1)
    eye = eye * distance[:, None] + [0.0, 0.0, 0.3]
    target = np.array([0.0, 0.0, 0.3]) + rng.uniform(-0.2, 0.2, (frames, 3))
    roll = np.radians(rng.uniform(-4, 4, frames))
    scene.extrinsics = np.stack([look_at(e, t, r) for e, t, r in zip(eye, target, roll, strict=True)])
    return scene


def _furnish(rng: Rng, scene: SceneArrays) -> None:
    """Five boxes along the walls, a low table and some balls."""
    room = scene.half[0]
    sides = np.append(rng.permutation(4), rng.integers(0, 4))
    for slot, side in enumerate(sides, 1):
        half = rng.uniform([0.2, 0.3, 0.3], [0.4, 0.8, 1.0])
        along = rng.uniform(-0.75, 0.75) * (room[1] if side % 2 == 0 else room[0])
        outward = (room[0] if side % 2 == 0 else room[1]) - half[0]
        sign = 1.0 if side < 2 else -1.0
        x, y = (sign * outward, along) if side % 2 == 0 else (along, sign * outward)
        scene.half[slot] = half if side % 2 == 0 else half[[1, 0, 2]]
        scene.centre[slot] = [x, y, half[2]]
    scene.half[BOXES] = rng.uniform([0.25, 0.25, 0.2], [0.6, 0.6, 0.4])
    scene.centre[BOXES] = [*rng.uniform(-0.6, 0.6, 2), scene.half[BOXES, 2]]
    scene.yaw[BOXES] = rng.uniform(0, math.pi)
    for slot in range(1 + BOXES, 1 + BOXES + int(rng.integers(1, SPHERES + 1))):
        radius = rng.uniform(0.12, 0.3)
        scene.half[slot] = radius
        scene.centre[slot] = [*(rng.uniform(-0.7, 0.7, 2) * room[:2]), radius]


def draw_rooms(rng: Rng, frames: int, spread: float = 1.0) -> SceneArrays:
    """A camera that moves and turns inside a furnished room (7-Scenes-like)."""
    scene = _empty(rng, rng.uniform([2.0, 2.0, 1.2], [3.0, 3.0, 1.5]))
    _furnish(rng, scene)
    room = scene.half[0]
    start = np.array([*(rng.uniform(-0.4, 0.4, 2) * room[:2]), rng.uniform(1.2, 1.6)])
    heading = rng.uniform(0, 2 * math.pi)
    drift = rng.uniform(0.4, 1.0) * spread * np.array([math.cos(heading), math.sin(heading), rng.uniform(-0.2, 0.2)])
    step = (rng.permutation(frames) + rng.uniform(-0.3, 0.3, frames)) / max(frames - 1, 1)
    eye = start + (step[:, None] - 0.5) * drift
    facing, turn = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(5, 35)) * spread
    yaw = facing + turn * (rng.permutation(frames) / max(frames - 1, 1) - 0.5)
    pitch = math.radians(rng.uniform(-18, -4)) + np.radians(rng.uniform(-4, 4, frames)) * spread
    direction = np.stack([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)], 1)
    roll = np.radians(rng.uniform(-4, 4, frames))
    scene.extrinsics = np.stack([look_at(e, e + d, r) for e, d, r in zip(eye, direction, roll, strict=True)])
    return scene


DRAW = {Family.OBJECTS: draw_objects, Family.ROOMS: draw_rooms}


def draw_scene(family: Family, split: Split, index: int, frames: int, spread: float = 1.0) -> SceneArrays:
    """Scene ``index`` of a split; ``spread`` scales the camera motion (the data sets use 1)."""
    return DRAW[family](np.random.default_rng([int(family), int(split), index]), frames, spread)
