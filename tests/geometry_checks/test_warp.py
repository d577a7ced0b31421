"""Depth moved between frames: small where poses are read rightly, large where they are not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from flat_walls import flat_wall
from real_scenes import red_kitchen
from scene_windows import window_of

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.geometry_checks.pairs import misread, relative_pose
from fgq_bench.geometry_checks.verdict import UNEXPLAINED, judge_depth
from fgq_bench.geometry_checks.warp import Warper, depth_errors
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scene import Scene


def judged(scene: Scene) -> tuple[str, str]:
    verdict = judge_depth([window_of(scene)])
    return verdict.state, verdict.why


@pytest.fixture(scope="module", params=["procedural-objects", "procedural-rooms"])
def scene(request: pytest.FixtureRequest) -> Scene:
    data = open_dataset(load_card(DatasetCard, request.param))
    return data.load(data.sequences()[3])


def test_a_wall_is_where_both_cameras_say() -> None:
    [error] = depth_errors(window_of(flat_wall()))
    assert error.frames == ("0", "1")
    assert error.read == pytest.approx(0, abs=1e-6)
    assert error.still == pytest.approx(0.2)  # 2 m where the other frame has 2.5 m; the first quartile
    assert error.samples == 12 * 16 + _seen_from_nearby()


def _seen_from_nearby() -> int:
    """Pixels of the farther camera that the nearer one sees: those within 0.8 of the picture's half sides."""
    rows = ((torch.arange(12) + 0.5 - 6).abs() * 2.5 / 2 < 6).sum()
    columns = ((torch.arange(16) + 0.5 - 8).abs() * 2.5 / 2 < 8).sum()
    return int(rows * columns)


def test_an_inverted_step_is_off_by_twice_its_length() -> None:
    """1.5 m instead of 2.5 m, and 3 m instead of 2 m."""
    [error] = depth_errors(window_of(misread(flat_wall())))
    assert error.read == pytest.approx(0.4)
    assert error.inverted == pytest.approx(0, abs=1e-6)


def test_poses_read_rightly_agree_and_misread_ones_do_not(scene: Scene) -> None:
    errors = depth_errors(window_of(scene))
    assert all(error.read < 0.01 for error in errors)
    assert all(error.inverted > 4 * error.read for error in errors)
    assert judged(scene)[0] == "ok"
    state, why = judged(misread(scene))
    assert state == "suspicious"
    assert "inverted poses fit better" in why


def test_invalid_depth_does_not_count() -> None:
    wall = flat_wall()
    assert wall.depth is not None and wall.mask is not None
    wall.mask[:, :, :8], wall.depth[:, :, :8] = False, 77.0
    [error] = depth_errors(window_of(wall))
    assert error.read == pytest.approx(0, abs=1e-6)


def test_cameras_that_see_nothing_in_common() -> None:
    wall = flat_wall()
    assert wall.extrinsics is not None
    wall.extrinsics[1, 0, 3] = 100.0
    [error] = depth_errors(window_of(wall))
    assert (error.read, error.samples) == (math.inf, 0)
    assert judged(wall) == ("suspicious", "frames that follow each other see nothing in common under their poses")


def test_a_camera_that_does_not_move_decides_nothing() -> None:
    assert judged(flat_wall().select([0, 0]))[0] == "undecided"


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
    state, said = judged(lacking)
    assert state == "not checked"
    assert why in said


def test_depth_at_another_resolution_and_single_frames_are_not_checked() -> None:
    wall = flat_wall()
    resized = replace(wall, images=torch.zeros(2, 3, 24, 32))
    assert judged(resized) == ("not checked", "depth has another resolution than the pictures")
    assert judged(wall.select([0])) == ("not checked", "a single frame")


def test_a_frame_with_another_frames_pose_is_named() -> None:
    """One of ten, where the other nine fit: medians over all pairs do not move."""
    kitchen = red_kitchen()
    assert kitchen.extrinsics is not None
    poses = kitchen.extrinsics.clone()
    poses[6] = poses[0]
    state, why = judged(replace(kitchen, extrinsics=poses))
    assert state == "suspicious"
    assert why.endswith("frame 6")


def test_shuffled_poses_are_suspicious() -> None:
    kitchen = red_kitchen()
    assert kitchen.extrinsics is not None
    order = [0, 1, 2, 7, 5, 8, 3, 9, 4, 6]  # two thirds wrong
    assert judged(replace(kitchen, extrinsics=kitchen.extrinsics[order]))[0] == "suspicious"


def test_seven_scenes_depth_agrees_to_millimetres() -> None:
    """Kinect's depth at its own focal length: 0.2 to 0.4 % of it; a wall is still told where the camera hardly moves."""
    errors = depth_errors(window_of(red_kitchen()))
    assert max(error.read for error in errors) < 0.005
    assert min(error.inverted / error.read for error in errors) > 8
    assert max(error.unexplained for error in errors) < UNEXPLAINED["depth"] / 2
    assert judged(red_kitchen())[0] == "ok"
    assert judged(misread(red_kitchen()))[0] == "suspicious"


def test_raw_seven_scenes_depth_at_the_colour_cameras_focal_length_is_worse_and_its_poses_still_fit() -> None:
    """Wide pairs: nine frames apart, at 585 and at 525 pixels."""
    right, raw = (Warper(red_kitchen(focal=focal)) for focal in (585, 525))
    poses = red_kitchen().extrinsics
    assert poses is not None
    apart = relative_pose(poses.double(), 0, 9)
    assert raw.disagreement(0, 9, apart)[0] > 2 * right.disagreement(0, 9, apart)[0]
    assert judged(red_kitchen(focal=525))[0] == "ok"
