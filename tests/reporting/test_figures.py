"""Figures: written in both formats, and drawn from the right numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fgq_bench.diagnostics import token_magnitudes, without_views
from fgq_bench.geometry import encode_pose
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.vggt import VGGT
from fgq_bench.reporting.figures.depth_sheet import draw_depth_sheet
from fgq_bench.reporting.figures.magnitudes import draw_magnitudes
from fgq_bench.reporting.figures.point_clouds import draw_point_clouds, splat
from fgq_bench.reporting.figures.ranking import cliques, draw_ranking, mean_ranks
from fgq_bench.reporting.statistics import Sample
from fgq_bench.reporting.writing import File
from fgq_bench.tasks.base import SequencePrediction


def check_written(files: list[File]) -> None:
    paths = [file.path for file in files]
    assert all(file.changed for file in files)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")


def sample(values: np.ndarray) -> Sample:
    names = tuple(map(str, range(len(values))))
    return Sample(names, values, np.ones(len(values)), np.array(["c"] * len(values)), False, (0.0,))


@pytest.fixture
def samples() -> dict[str, Sample]:
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.1, 50)
    return {
        "a": sample(shared),
        "twin": sample(shared + rng.normal(0, 0.01, 50)),
        "worse": sample(shared - 0.3 + rng.normal(0, 0.01, 50)),
    }


def test_ranks_and_cliques(samples: dict[str, Sample]) -> None:
    names, means = mean_ranks(samples, True)
    assert names[2] == "worse"
    assert means[0].tolist()[2] == 3
    assert means[0].sum() == pytest.approx(6)
    assert cliques(means) == [(0, 1)]
    assert mean_ranks(samples, False)[0][0] == "worse"


def test_ranking_figure(samples: dict[str, Sample], tmp_path: Path) -> None:
    check_written(draw_ranking(samples, True, "title", tmp_path / "r"))


@pytest.fixture
def scene() -> Scene:
    torch.manual_seed(0)
    pose = torch.eye(3, 4, dtype=torch.float64).repeat(2, 1, 1)
    pose[1, 0, 3] = 0.2
    intrinsics = torch.tensor([[20.0, 0, 14], [0, 20, 14], [0, 0, 1]], dtype=torch.float64).expand(2, 3, 3)
    depth = 1 + torch.rand(2, 28, 28, dtype=torch.float64)
    return Scene("s", "c", torch.rand(2, 3, 28, 28), pose, intrinsics, depth, torch.ones(2, 28, 28, dtype=torch.bool))


def test_prediction_pictures(scene: Scene, tmp_path: Path) -> None:
    assert scene.extrinsics is not None
    assert scene.intrinsics is not None
    pose = encode_pose(scene.extrinsics, scene.intrinsics, (28, 28)).float()
    predictions = {"fp": SequencePrediction(pose, scene.depth), "w4a4": SequencePrediction(pose, scene.depth)}
    check_written(draw_depth_sheet(scene, predictions, tmp_path / "d"))
    check_written(draw_point_clouds(scene, predictions, tmp_path / "p"))


def test_nearest_point_hides_the_one_behind_it() -> None:
    red, blue = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 0, 1.0]])
    from fgq_bench.reporting.figures.point_clouds import _viewpoint

    towards_viewer = -0.2 * _viewpoint()[2]
    centre = torch.zeros(3, dtype=torch.float64)
    for order in ([0, 1], [1, 0]):
        points = torch.stack([centre, towards_viewer])[order]
        image = splat(points, torch.cat([red, blue])[order], centre, 1.0)
        assert (image == [0, 0, 1]).all(-1).sum() == 4  # only the blue, nearer one
        assert not (image == [1, 0, 0]).all(-1).any()


def test_magnitudes_are_those_of_the_tokens(micro: VGGT, scene: Scene, tmp_path: Path) -> None:
    rows = token_magnitudes(micro, [scene])
    assert [row["block"] for row in rows[::3]] == ["F0", "G0", "F1", "G1", "F2", "G2", "F3", "G3"]
    level = micro.aggregator(scene.images[None], (1,))[1]
    frame_camera = next(row for row in rows if (row["block"], row["token"]) == ("F1", "camera"))
    assert frame_camera["max"] == pytest.approx(level[0, :, 0, :48].abs().max().item())
    check_written(draw_magnitudes(rows, "title", tmp_path / "m"))


def test_without_views_no_frame_sees_another(micro: VGGT) -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 3, 56, 56)
    changed = images.clone()
    changed[:, 2] = torch.rand(3, 56, 56)
    blind = without_views(micro, (56, 56))
    same = [
        torch.equal(net.aggregator(images, (3,))[3][:, 1], net.aggregator(changed, (3,))[3][:, 1])
        for net in (micro, blind)
    ]
    assert same == [False, True]
