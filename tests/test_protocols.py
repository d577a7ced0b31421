"""Protocols from end to end on miniatures: the command, what reaches the metrics, keys, calibration sets, leakage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from known_scene import known_scene
from miniature_views import render_views
from miniatures_co3d import Miniature
from miniatures_indoor import write_dtu, write_kitti, write_seven_scenes
from miniatures_scannet import write_scene
from typer.testing import CliRunner

from fgq_bench import runner
from fgq_bench.calibration.manifest import CalibrationClips, Clip, Manifest, fingerprint, load_manifest
from fgq_bench.cards import DatasetCard, ProtocolCard, card_names, content_root, load_card
from fgq_bench.cli import app
from fgq_bench.errors import UserError
from fgq_bench.geometry import encode_pose, transform_points
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.reporting.columns import Column
from fgq_bench.results import Result, Store
from fgq_bench.tasks.base import SequencePrediction
from fgq_bench.tasks.pointmap import true_points
from fgq_bench.tasks.registry import find_task

LONG = 52  # frames; CO3Dv2 sequences under 50 are left out


def call(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output


def all_entries() -> list[tuple[str, str]]:
    cards = [load_card(ProtocolCard, name) for name in card_names("protocols")]
    return [(card.name, dataset) for card in cards for dataset in card.datasets]


@pytest.mark.parametrize(("protocol", "dataset"), all_entries())
def test_every_entry_names_a_data_set_tasks_and_metrics_that_exist(protocol: str, dataset: str) -> None:
    entry = load_card(ProtocolCard, protocol).datasets[dataset]
    assert load_card(DatasetCard, dataset).image_size is None
    for task in entry.tasks:
        find_task(task)
    for column in entry.headline:
        assert Column.parse(column).task in entry.tasks
    assert bool(entry.headline) == bool(entry.tasks)


@pytest.mark.parametrize("name", card_names("datasets"))
def test_every_data_set_has_its_protocol_and_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    card = load_card(DatasetCard, name)
    if card.image_size is None:
        assert (card.protocol, name) in all_entries()
        assert len(card.download) > 20
        with pytest.raises(UserError, match=f"--root {name}=PATH"):
            open_dataset(card)


@pytest.fixture(scope="module")
def co3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories with a test sequence each, four training sequences."""
    made = Miniature(tmp_path_factory.mktemp("co3d"))
    for number, category in enumerate(("apple", "car")):
        views = render_views(number, LONG)
        made.add(category, "1_1_1", views)
        for other in ("2_2_2", "3_3_3"):
            made.add(category, other, views, split="train")
    return made.write_preprocessed()


def truth(scene: Scene, scale: float = 0.5) -> SequencePrediction:
    """What a model says that knows everything, at its own scale, in the first camera's frame."""
    if scene.extrinsics is None or scene.intrinsics is None:
        assert scene.depth is not None
        return SequencePrediction(depth=scale * scene.depth)
    first, poses = scene.extrinsics[0].double(), scene.extrinsics.double()
    rotation = poses[:, :, :3] @ first[:, :3].T
    relative = torch.cat([rotation, scale * (poses[:, :, 3:] - rotation @ first[:, 3:])], -1)
    height, width = scene.images.shape[-2:]
    pose = encode_pose(relative, scene.intrinsics.double(), (height, width))
    if scene.depth is None:
        return SequencePrediction(pose)
    points = scale * transform_points(first[None], true_points(scene))
    return SequencePrediction(pose, scale * scene.depth, points)


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the model's place: the truth."""
    monkeypatch.setattr(runner, "predict", lambda model, scene, dtype, fields: truth(scene))


def results_of(output: Path) -> Result:
    [result] = Store(output / "results").all()
    assert result.status == "ok", result.error
    return result


def test_co3dv2_under_fgq(co3d: Path, tmp_path: Path, knowing: None) -> None:
    output = tmp_path / "runs"
    run = ["run", "-m", "fp", "-d", "co3dv2", "--protocol", "fgq", "-t", "pose", "--root", f"co3dv2={co3d}"]
    printed = call(*run, "-o", str(output))
    for threshold in (30, 15, 5, 3):
        assert f"auc@{threshold}/category 1.000" in printed
    result = results_of(output)
    assert result.conditions["protocol"]["name"] == "fgq"
    assert result.conditions["protocol"]["seed"] == 42
    assert result.conditions["image_size"] == 512
    assert {row["category"] for row in result.sequences} == {"apple", "car"}
    assert {row["weight"] for row in result.sequences} == {45.0}
    assert "1 already stored" in call(*run, "-o", str(output))


def test_protocols_do_not_share_results(co3d: Path, tmp_path: Path, knowing: None) -> None:
    for protocol in ("fgq", "qvggt", "quantvggt"):
        task = "pose-first-camera" if protocol == "quantvggt" else "pose"
        call("run", "-m", "fp", "-d", "co3dv2", "--protocol", protocol, "-t", task, "--root", f"co3dv2={co3d}", "-o", str(tmp_path))  # fmt: skip
    stored = Store(tmp_path / "results").all()
    assert len({result.key for result in stored}) == 3
    frames = {result.conditions["protocol"]["name"]: result.conditions["frames"] for result in stored}
    assert frames["fgq"] == frames["qvggt"] != frames["quantvggt"]  # seed 42 and 42, seed 0


@pytest.mark.parametrize(("protocol", "task"), [("fgq", "pointmap"), ("quantvggt", "pointmap-median")])
def test_seven_scenes(protocol: str, task: str, tmp_path: Path, knowing: None) -> None:
    known, root = known_scene(640, 480, 525), tmp_path / "7scenes"
    write_seven_scenes(root / "chess/seq-03", known, known.c2w, [0, 100, 200])
    (root / "chess/TestSplit.txt").write_text("sequence3\n")
    call("run", "-m", "fp", "-d", "7scenes", "--protocol", protocol, "-t", task, "--root", f"7scenes={root}", "-o", str(tmp_path / "runs"))  # fmt: skip
    result = results_of(tmp_path / "runs")
    options = result.conditions["dataset"]["options"]
    assert options["depth"] == ("projected" if protocol == "fgq" else "raw")
    for source in ("points", "depth+camera"):
        assert result.metrics[f"acc_mean_{source}"]["value"] < 1e-4
        assert result.metrics[f"nc_mean_{source}"]["value"] > 0.99


def test_dtu_is_printed_in_millimetres(tmp_path: Path, knowing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_scene(160, 120, 150)
    mask = np.ones((120, 160), dtype=bool)
    write_dtu(tmp_path / "dtu/scan1", known, 1, mask)
    exact = truth

    def off(scene: Scene) -> SequencePrediction:
        made = exact(scene, 1.0)
        assert made.points is not None
        made.points[..., 2] += 0.01 * (torch.arange(made.points.shape[-2]) % 2 * 2 - 1)
        return made

    monkeypatch.setattr(runner, "predict", lambda model, scene, dtype, fields: off(scene))
    printed = call("run", "-m", "fp", "-d", "dtu", "--protocol", "quantvggt", "-t", "pointmap-mm", "--root", f"dtu={tmp_path / 'dtu'}", "-o", str(tmp_path / "runs"))  # fmt: skip
    stored = results_of(tmp_path / "runs").metrics["acc_mean_points"]["value"]
    assert 1e-4 < stored < 0.02
    assert f"acc_mean_points {1000 * stored:.3f}" in printed
    assert "millimetres" in printed


@pytest.mark.parametrize("dataset", ["kitti-mono", "kitti-video"])
def test_kitti_is_scored_at_its_own_resolution(dataset: str, tmp_path: Path, knowing: None) -> None:
    known, root = known_scene(128, 40, 90), tmp_path / "kitti"
    write_kitti(root, "2011_09_26_drive_0002_sync", known, [0, 1, 2])
    call("run", "-m", "fp", "-d", dataset, "-t", "depth-l1", "-t", "depth", "--root", f"{dataset}={root}", "-o", str(tmp_path / "runs"))  # fmt: skip
    for result in Store(tmp_path / "runs/results").all():
        assert len(result.sequences) == (3 if dataset == "kitti-mono" else 1)
        name = "abs_rel_scale" if result.labels["task"] == "depth-l1" else "abs_rel_median"
        assert result.metrics[name]["value"] < 1e-6
        assert sum(row["weight"] for row in result.sequences) <= known.depth.size


# Tables ---------------------------------------------------------------------------------------------------------------


def test_a_table_of_data_in_files(co3d: Path, tmp_path: Path, knowing: None) -> None:
    """A published table on the paper's own data set: rows, columns, protocol and the printed numbers."""
    text = (content_root() / "reports/quantvggt-7.toml").read_text()
    text = text.replace(
        text[text.index("[beside]") : text.index("[models.vggt-1b]")], '[words]\n"quantvggt" = "rtn"\n\n'
    )
    path = tmp_path / "quantvggt-7.toml"
    path.write_text(text)
    arguments = ["--report", str(path), "--root", f"co3dv2={co3d}", "-o", str(tmp_path / "runs")]
    assert "1 cells" not in call("run-all", *arguments, "--dry-run")
    call("run-all", *arguments)
    table = (tmp_path / "runs/report/quantvggt-7.md").read_text()
    assert "protocol: quantvggt" in table
    assert "CO3Dv2 (10 frames) stands beside CO3Dv2" in table
    assert "| QuantVGGT | W4A4 | here: rtn w4a4 | – | 1.000 [1.000, 1.000]; loss 0.0 [0.0, 0.0] % |" in table
    assert "| QuantVGGT | W4A4 | printed | 1.40 TFLOP | 86.9 %; loss 2.9 [" in table
    assert "| FastVGGT | W16A16 | printed |" in table
    again = call("report", str(path), "--results", str(tmp_path / "runs/results"), "--root", f"co3dv2={co3d}", "--format", "md")  # fmt: skip
    assert "1.000 [1.000, 1.000]" in again
    result = CliRunner().invoke(app, ["report", str(path), "--results", str(tmp_path / "runs/results")])
    assert "--root co3dv2=PATH" in str(result.exception)


# The model itself -----------------------------------------------------------------------------------------------------


def test_a_real_run_of_the_embedded_model(tmp_path: Path) -> None:
    known, root = known_scene(640, 480, 525), tmp_path / "7scenes"
    write_seven_scenes(root / "chess/seq-03", known, known.c2w, [0, 100, 200])
    (root / "chess/TestSplit.txt").write_text("sequence3\n")
    call("run", "-m", "rtn", "-b", "w8a8", "-d", "7scenes", "--protocol", "fgq", "-t", "agreement", "--root", f"7scenes={root}", "-o", str(tmp_path / "runs"))  # fmt: skip
    assert 0 < results_of(tmp_path / "runs").metrics["depth"]["value"] < 0.5


# Calibration ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "arguments", "size"),
    [
        ("fgq", ["--sequences", "4", "--frames", "4", "--seed", "42"], (4, 518, 518)),
        ("quantvggt", ["--sampler", "nfds", "--clusters", "2", "--sequences", "2", "--frames", "2"], (2, 518, 518)),
    ],
)
def test_calibration_sets_of_the_papers(
    protocol: str, arguments: list[str], size: tuple[int, ...], co3d: Path, tmp_path: Path
) -> None:
    path, root = tmp_path / "drawn.json", f"co3dv2-train={co3d}"
    shared = [] if protocol == "fgq" else ["--shared", str(tmp_path)]
    call("manifest", "-d", "co3dv2-train", "--protocol", protocol, "--root", root, *arguments, *shared, "-o", str(path))
    manifest = load_manifest(str(path))
    assert dict(manifest.sources)["co3dv2-train"].startswith(f"{protocol}:")
    clips = CalibrationClips(manifest, {"co3dv2-train": co3d})
    images = next(iter(clips))
    assert images.shape == (size[0], 3, *size[1:])
    white = bool((images[:, :, 0] == 1).all())
    assert white == (protocol == "quantvggt")  # padded, not squashed
    clips.check_disjoint(open_dataset(load_card(DatasetCard, "co3dv2"), co3d, protocol=protocol))


def test_pictures_of_co3dv2_and_scannet_have_one_size(co3d: Path, tmp_path: Path) -> None:
    scannet = tmp_path / "scannet"
    for number in range(2):
        write_scene(scannet, f"scene000{number}_00", render_views(number, 5), step=20)
    roots = ["--root", f"co3dv2-train={co3d}", "--root", f"scannet={scannet}"]
    call("manifest", "-d", "co3dv2-train", "-d", "scannet", "--protocol", "qvggt", *roots, "--sequences", "4", "--frames", "4", "-o", str(tmp_path / "m.json"))  # fmt: skip
    clips = CalibrationClips(load_manifest(str(tmp_path / "m.json")), {"co3dv2-train": co3d, "scannet": scannet})
    assert {tuple(images.shape) for images in clips} == {(4, 3, 518, 518)}
    assert {clip.dataset for clip in clips.manifest.clips} == {"co3dv2-train", "scannet"}


def test_calibrating_on_a_test_sequence_is_refused_in_another_copy_too(co3d: Path, tmp_path: Path) -> None:
    call("manifest", "-d", "co3dv2-train", "--protocol", "fgq", "--root", f"co3dv2-train={co3d}", "--sequences", "4", "--frames", "4", "-o", str(tmp_path / "m.json"))  # fmt: skip
    other = tmp_path / "other"
    made = Miniature(other)
    made.add("apple", "2_2_2", render_views(0, LONG))  # a training sequence of the first copy
    made.write_preprocessed()
    request = Request(
        ["gptq"],
        ["w4a4"],
        ["co3dv2"],
        roots={"co3dv2": other, "co3dv2-train": co3d},
        calibration=str(tmp_path / "m.json"),
    )
    with pytest.raises(UserError, match="calibrates on 'apple/2_2_2' of co3dv2-train, which co3dv2 scores"):
        plan(request, LoadedModel.load(request))


def test_a_file_that_learned_from_test_sequences_is_not_evaluated_on_them(co3d: Path, tmp_path: Path) -> None:
    root, drawn, made = f"co3dv2={co3d}", tmp_path / "leak.json", tmp_path / "leak.safetensors"
    frames = {"apple/1_1_1": ["frame000001.jpg", "frame000004.jpg"]}
    data = open_dataset(load_card(DatasetCard, "co3dv2"), co3d)
    clips = tuple(Clip("co3dv2", sequence, tuple(names)) for sequence, names in frames.items())
    Manifest("leak", "by hand", 0, clips, (("co3dv2", fingerprint(data)),)).save(drawn)
    call("quantize", "-m", "smoothquant", "-b", "w8a8", "-o", str(made), "--calibration", str(drawn), "--root", root, "--shared", str(tmp_path))  # fmt: skip
    result = CliRunner().invoke(app, ["evaluate", str(made), "-d", "co3dv2", "--root", root])
    assert isinstance(result.exception, UserError)
    assert "calibrated on 'apple/1_1_1', which co3dv2 scores" in str(result.exception)


def test_sequences_that_are_all_too_short_and_tasks_that_are_not_offered_are_one_line(tmp_path: Path) -> None:
    made = Miniature(tmp_path)
    made.add("apple", "1_1_1", render_views(0, 3))
    root = f"co3dv2={made.write_preprocessed()}"
    short = "no sequence under .* has enough frames for the protocol fgq"
    for verb, message in (
        (["run", "-m", "fp", "-d", "co3dv2"], short),
        (["inspect", "-d", "co3dv2", "-o", str(tmp_path / "inspect")], short),
        (
            ["run", "-m", "fp", "-d", "co3dv2", "-t", "depth"],
            "data set co3dv2 has no task 'depth'; it has pose, agreement",
        ),
        (["run", "-m", "fp", "-d", "co3dv2-train"], "is there to calibrate on"),
    ):
        given = [*verb, "--root", root.replace("co3dv2=", f"{verb[verb.index('-d') + 1]}=")]
        result = CliRunner().invoke(app, given)
        assert isinstance(result.exception, UserError), result.output
        assert re.search(message, str(result.exception))


# Pinned frames --------------------------------------------------------------------------------------------------------


def test_frames_command_pins_what_a_run_then_scores(
    co3d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fgq_bench.commands import frames as command
    from fgq_bench.loaders import file_dataset

    path = tmp_path / "co3dv2-fgq.json"
    for module in (command, file_dataset):
        monkeypatch.setattr(module, "pinned_path", lambda dataset, protocol: tmp_path / f"{dataset}-{protocol}.json")
    before = open_dataset(load_card(DatasetCard, "co3dv2"), co3d, protocol="fgq").frames
    printed = call("frames", "co3dv2", "--protocol", "fgq", "--root", f"co3dv2={co3d}")
    assert "2 sequences, 20 frames, 0 left out" in printed
    pinned = json.loads(path.read_text())
    assert pinned["sequences"] == before
    assert pinned["rule"] == {
        "protocol": "fgq", "frames": "random", "count": 10, "seed": 42, "at_most_half": False, "minimum": 50,
        "options": {"split": "test"},
    }  # fmt: skip
    assert open_dataset(load_card(DatasetCard, "co3dv2"), co3d, protocol="fgq").frames == before
