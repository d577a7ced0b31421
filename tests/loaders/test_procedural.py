"""Procedural scenes: exact ground truth, reproducible, and splits that cannot meet."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.geometry import unproject_depth
from fgq_bench.loaders.base import Dataset, SceneCache, open_dataset
from fgq_bench.loaders.procedural_scene import BOXES, Family, Split, draw_scene, stack_scenes
from fgq_bench.loaders.raycast import render
from fgq_bench.loaders.scene import Scene

GOLDEN_SCENES = Path(__file__).parents[1] / "golden" / "procedural.npz"
NAMES = ["procedural-objects", "procedural-rooms"]


def dataset(name: str, **options: object) -> Dataset:
    card = load_card(DatasetCard, name)
    return open_dataset(card.model_copy(update={"options": {**card.options, **options}}))


@pytest.fixture(scope="module", params=NAMES)
def scene(request: pytest.FixtureRequest) -> Scene:
    data = dataset(request.param)
    return data.load(data.sequences()[0])


def test_shapes_and_ranges(scene: Scene) -> None:
    assert scene.images.shape == (4, 3, 84, 84)
    assert scene.images.min() >= 0
    assert scene.images.max() <= 1
    assert scene.depth is not None
    assert scene.mask is not None
    assert scene.depth.min() > 0.2
    assert scene.depth.max() < 20
    assert scene.mask.all()


def test_cameras_are_rigid(scene: Scene) -> None:
    assert scene.extrinsics is not None
    rotation = scene.extrinsics[..., :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))
    assert (torch.linalg.det(rotation) > 0).all()


def reprojection_error(scene: Scene, extrinsics: torch.Tensor) -> float:
    """Median relative difference between frame 1's depth and frame 0's points seen from frame 1."""
    assert scene.depth is not None
    assert scene.intrinsics is not None
    points = unproject_depth(scene.depth[0], extrinsics[0], scene.intrinsics[0]).reshape(-1, 3)
    local = points @ extrinsics[1, :, :3].T + extrinsics[1, :, 3]
    pixel = local @ scene.intrinsics[1].T
    grid = pixel[:, :2] / pixel[:, 2:] / 42 - 1
    seen = (grid.abs().amax(-1) < 1) & (local[:, 2] > 0)
    sampled = F.grid_sample(scene.depth[1][None, None], grid[None, None], align_corners=False)[0, 0, 0]
    error = (sampled - local[:, 2]).abs() / local[:, 2]
    return float(error[seen].median())


def test_depth_and_poses_agree_across_views_and_misread_poses_do_not(scene: Scene) -> None:
    assert scene.extrinsics is not None
    c2w = torch.linalg.inv(torch.cat([scene.extrinsics, torch.tensor([0, 0, 0, 1.0]).expand(4, 1, 4)], 1))[:, :3]
    assert reprojection_error(scene, scene.extrinsics) < 0.005
    assert reprojection_error(scene, c2w) > 0.05


@pytest.mark.parametrize(
    ("name", "digest"),
    [("procedural-objects", "OBJECTS"), ("procedural-rooms", "ROOMS")],
)
def test_scene_is_the_same_on_every_machine(name: str, digest: str) -> None:
    """At most 0.1 % of the pixels may differ by one grey level; the mean of every scene row pins the rest."""
    data = dataset(name)
    image = data.load(data.sequences()[7]).images.mul(255).round().to(torch.uint8)
    expected = np.load(GOLDEN_SCENES)[digest]
    difference = (image.numpy().astype(int) - expected.astype(int)).__abs__()
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001


@pytest.mark.parametrize("family", list(Family))
def test_compiled_and_eager_rendering_agree(family: Family) -> None:
    scenes = stack_scenes([draw_scene(family, Split.TEST, index, 2) for index in range(2)])
    eager, depth = render(scenes, 28, compile=False)
    compiled, compiled_depth = render(scenes, 28, compile=True)
    assert (eager.int() - compiled.int()).abs().max() <= 1
    torch.testing.assert_close(depth, compiled_depth)


def test_no_scene_is_in_two_splits() -> None:
    digests = [
        hashlib.sha256(draw_scene(family, split, index, 2).palette.tobytes()).hexdigest()
        for family in Family
        for split in Split
        for index in range(50)
    ]
    assert len(set(digests)) == len(digests)


def test_frames_do_not_move_the_furniture() -> None:
    short, long = (draw_scene(Family.ROOMS, Split.TEST, 3, frames) for frames in (2, 10))
    assert np.array_equal(short.centre, long.centre)
    assert np.array_equal(short.palette, long.palette)


@pytest.mark.parametrize("family", list(Family))
def test_cameras_are_outside_of_everything(family: Family) -> None:
    for index in range(200):
        scene = draw_scene(family, Split.TEST, index, 4)
        rotation, translation = scene.extrinsics[..., :3], scene.extrinsics[..., 3]
        eye = -np.einsum("sij,si->sj", rotation, translation)
        assert (np.abs(eye - scene.centre[0]) < scene.half[0]).all(), index
        for entity in range(1, 1 + BOXES):
            offset = eye - scene.centre[entity]
            cosine, sine = np.cos(scene.yaw[entity]), np.sin(scene.yaw[entity])
            x, y = cosine * offset[:, 0] + sine * offset[:, 1], cosine * offset[:, 1] - sine * offset[:, 0]
            local = np.abs(np.stack([x, y, offset[:, 2]], 1))
            assert (local > scene.half[entity]).any(1).all(), (index, entity)


def test_limit_changes_the_frame_list_hash() -> None:
    card = load_card(DatasetCard, "procedural-rooms")
    assert open_dataset(card, limit=4).frame_list_hash != open_dataset(card).frame_list_hash


@pytest.mark.parametrize(
    "name", ["rooms-test-٠٠٠١", "rooms-test-1", "rooms-test--001", "rooms-test-x", "rooms", "rooms-test-" + "9" * 5000]
)
def test_a_name_that_is_no_scene_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match="data set procedural-rooms: no sequence"):
        dataset("procedural-rooms").load(name)


def test_more_scenes_than_there_are_numbers_for_are_refused() -> None:
    with pytest.raises(UserError, match="option 'sequences': Input should be less"):
        dataset("procedural-rooms", sequences=10**12)


def test_bad_option_and_sequence_are_named() -> None:
    with pytest.raises(UserError, match="data set procedural-rooms: option 'family'"):
        dataset("procedural-rooms", family="castles")
    with pytest.raises(UserError, match="no sequence 'rooms-test-9999'"):
        dataset("procedural-rooms").load("rooms-test-9999")


def test_scene_cache_is_bounded(scene: Scene) -> None:
    data = dataset("procedural-rooms")
    cache = SceneCache(budget=scene.nbytes * 2)
    for sequence in data.sequences()[:4]:
        cache.load(data, sequence)
    assert len(cache.scenes) == 2
    first = data.sequences()[0]
    assert cache.load(data, first) is cache.load(data, first)
