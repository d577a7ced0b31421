"""Depth moved between frames: small where poses are read rightly, large where they are not."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from real_scenes import red_kitchen

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.geometry_checks.pairs import misread, window
from fgq_bench.geometry_checks.verdict import DEPTH_LIMIT, judge_depth
from fgq_bench.geometry_checks.warp import depth_disagreement
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scene import Scene


def flat_wall() -> Scene:
    """A wall 2 m ahead, seen by a camera that steps back by half a metre: depth 2 m, then 2.5 m."""
    poses = torch.eye(3, 4).repeat(2, 1, 1)
    poses[1, 2, 3] = 0.5
    depth = torch.tensor([2.0, 2.5])[:, None, None].expand(2, 12, 16).contiguous()
    intrinsics = torch.tensor([[16.0, 0, 8], [0, 16, 6], [0, 0, 1]]).expand(2, 3, 3)
    return Scene("wall", "wall", torch.zeros(2, 3, 12, 16), poses, intrinsics, depth, depth > 0)


@pytest.fixture(scope="module", params=["procedural-objects", "procedural-rooms"])
def scene(request: pytest.FixtureRequest) -> Scene:
    data = open_dataset(load_card(DatasetCard, request.param))
    return data.load(data.sequences()[3])


def test_a_wall_is_where_both_cameras_say() -> None:
    found = depth_disagreement(flat_wall())
    assert found is not None
    assert (found.median, found.pairs) == (0, 1)
    assert found.samples == 12 * 16 + _seen_from_nearby()


def _seen_from_nearby() -> int:
    """Pixels of the farther camera that the nearer one sees: those within 0.8 of the picture's half sides."""
    rows = ((torch.arange(12) + 0.5 - 6).abs() * 2.5 / 2 < 6).sum()
    columns = ((torch.arange(16) + 0.5 - 8).abs() * 2.5 / 2 < 8).sum()
    return int(rows * columns)


def test_an_inverted_step_is_off_by_twice_its_length() -> None:
    found = depth_disagreement(misread(flat_wall()))
    assert found is not None
    assert found.median == pytest.approx(1.0)


def test_poses_read_rightly_agree_and_misread_ones_do_not(scene: Scene) -> None:
    assert scene.depth is not None
    right, wrong = depth_disagreement(scene), depth_disagreement(misread(scene))
    assert right is not None and wrong is not None
    assert right.median < 0.01 * float(scene.depth.median())
    assert wrong.median > 10 * right.median
    assert judge_depth(scene).state == "ok"
    assert judge_depth(misread(scene)).state == "suspicious"
    assert "inverted poses fit better" in judge_depth(misread(scene)).why


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_depth_in_another_unit_than_the_poses_is_suspicious(scene: Scene, factor: float) -> None:
    assert scene.depth is not None
    assert judge_depth(replace(scene, depth=scene.depth * factor)).state == "suspicious"


def test_invalid_depth_does_not_count() -> None:
    wall = flat_wall()
    assert wall.depth is not None and wall.mask is not None
    wall.mask[:, :, :8], wall.depth[:, :, :8] = False, 77.0
    found = depth_disagreement(wall)
    assert found is not None
    assert found.median == 0


def test_cameras_that_see_nothing_in_common() -> None:
    wall = flat_wall()
    assert wall.extrinsics is not None
    wall.extrinsics[1, 0, 3] = 100.0
    found = depth_disagreement(wall)
    assert found is not None
    assert (found.median, found.samples, found.pairs) == (math.inf, 0, 0)
    assert judge_depth(wall).state == "suspicious"


def test_a_camera_that_does_not_move_decides_nothing() -> None:
    wall = flat_wall().select([0, 0])
    assert judge_depth(wall).state == "undecided"


@pytest.mark.parametrize(
    ("lacking", "why"),
    [
        (replace(flat_wall(), depth=None, mask=None), "no depth"),
        (replace(flat_wall(), extrinsics=None), "no poses"),
        (replace(flat_wall(), intrinsics=None), "no intrinsics"),
    ],
    ids=["depth", "poses", "intrinsics"],
)
def test_a_scene_without_the_truth_is_not_checked(lacking: Scene, why: str) -> None:
    assert depth_disagreement(lacking) is None
    verdict = judge_depth(lacking)
    assert verdict.state == "not checked"
    assert why in verdict.why


def test_depth_at_another_resolution_and_single_frames_are_not_checked() -> None:
    wall = flat_wall()
    assert (
        judge_depth(replace(wall, images=torch.zeros(2, 3, 24, 32))).why
        == "depth has another resolution than the pictures"
    )
    assert judge_depth(wall.select([0])).why == "a single frame"


def test_seven_scenes_depth_agrees_to_millimetres() -> None:
    """spec/datasets.md: 9 mm, misread 150 mm or more (there over all pairs; neighbours are nearer to each other)."""
    scene = red_kitchen()
    right, wrong = depth_disagreement(scene), depth_disagreement(misread(scene))
    assert right is not None and wrong is not None and scene.depth is not None and scene.mask is not None
    assert right.median < 0.010
    assert wrong.median > 0.120
    limit = DEPTH_LIMIT * float(scene.depth[scene.mask].median())
    assert right.median < limit / 5 < limit < wrong.median / 2
    assert judge_depth(scene).state == "ok"
    assert judge_depth(misread(scene)).state == "suspicious"


def test_seven_scenes_over_all_pairs_as_in_the_specification() -> None:
    scene = red_kitchen().select([0, 3, 6, 9])
    pairs = [(a, b) for a in range(4) for b in range(a)]
    right, wrong = depth_disagreement(scene, pairs), depth_disagreement(misread(scene), pairs)
    assert right is not None and wrong is not None
    assert right.median < 0.020
    assert wrong.median > 0.150


def test_raw_seven_scenes_depth_at_the_colour_cameras_focal_length_is_worse_and_still_passes() -> None:
    right, raw = depth_disagreement(red_kitchen()), depth_disagreement(red_kitchen(focal=525))
    assert right is not None and raw is not None
    assert raw.median > 1.3 * right.median
    assert judge_depth(red_kitchen(focal=525)).state == "ok"


@pytest.mark.parametrize(("frames", "step"), [(3, 1), (16, 1), (49, 1), (100, 2), (1000, 5)])
def test_the_window_is_in_the_middle_and_inside(frames: int, step: int) -> None:
    names = [str(i) for i in range(frames)]
    chosen = [int(name) for name in window(names)]
    assert len(chosen) == min(8, frames)
    assert {b - a for a, b in pairwise(chosen)} == {step}
    assert abs(chosen[0] - (frames - 1 - chosen[-1])) <= step


def test_the_window_puts_shuffled_frames_in_order() -> None:
    """CO3D's set lists are shuffled; numbers count as numbers."""
    assert window([f"img{number}.png" for number in (10, 2, 9, 1)]) == [f"img{number}.png" for number in (1, 2, 9, 10)]
