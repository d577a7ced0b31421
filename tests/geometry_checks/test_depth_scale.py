"""The unit of depth: a scale at which depth agrees better than at the one that was read is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flat_walls import flat_wall
from real_scenes import red_kitchen
from scene_windows import window_of

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.geometry_checks.verdict import Verdict, judge_depth_scale
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scene import Scene


def judged(scene: Scene, factor: float = 1.0) -> Verdict:
    assert scene.depth is not None
    return judge_depth_scale([window_of(replace(scene, depth=scene.depth * factor))])


@pytest.fixture(scope="module", params=["procedural-objects", "procedural-rooms"])
def scene(request: pytest.FixtureRequest) -> Scene:
    data = open_dataset(load_card(DatasetCard, request.param))
    return data.load(data.sequences()[3])


WRONG = [0.001, 0.2, 0.5, 2.0, 5.0, 1000.0]


@pytest.mark.parametrize("factor", WRONG)
def test_depth_in_another_unit_than_the_poses_is_suspicious(scene: Scene, factor: float) -> None:
    verdict = judged(scene, factor)
    assert verdict.state == "suspicious"
    assert verdict.why.endswith("times the depth that was read fits the poses better")
    assert float(verdict.why.split()[0]) == pytest.approx(1 / factor, rel=0.3)


def test_depth_in_the_unit_of_the_poses(scene: Scene) -> None:
    verdict = judged(scene)
    assert verdict.state == "ok"
    assert verdict.fitting > verdict.contradicting


@pytest.mark.parametrize("factor", WRONG)
def test_seven_scenes_in_another_unit(factor: float) -> None:
    """TUM's 1/5000 m read as millimetres is five times the depth; 2 cm between neighbours, 2 m from the scene."""
    verdict = judged(red_kitchen(), factor)
    assert verdict.state == "suspicious"
    assert float(verdict.why.split()[0]) == pytest.approx(1 / factor, rel=0.3)


def test_seven_scenes_as_it_is() -> None:
    verdict = judged(red_kitchen())
    assert (verdict.state, verdict.contradicting) == ("ok", 0)


def test_raw_seven_scenes_depth_at_the_colour_cameras_focal_length_is_undecided() -> None:
    """A focal length that is wrong by a tenth draws the best scale away from 1."""
    assert judged(red_kitchen(focal=525)).state == "undecided"


def test_a_camera_that_does_not_move_decides_nothing() -> None:
    """Nor does one that only turns: every scale fits."""
    for still in (flat_wall().select([0, 0]), red_kitchen().select([3, 3])):
        verdict = judged(still)
        assert verdict.state == "undecided"
        assert verdict.why == "too few pairs of frames tell one scale from another"


def test_pairs_that_disagree_about_the_scale_decide_nothing() -> None:
    """Wrong poses are no wrong unit of depth."""
    kitchen = red_kitchen()
    assert kitchen.extrinsics is not None
    poses = kitchen.extrinsics[[0, 1, 2, 7, 5, 8, 3, 9, 4, 6]]
    assert judged(replace(kitchen, extrinsics=poses)).state == "undecided"


def test_without_depth_nothing_is_checked() -> None:
    verdict = judge_depth_scale([window_of(replace(flat_wall(), depth=None, mask=None))])
    assert (verdict.state, verdict.why) == ("not checked", "the data set has no depth")
