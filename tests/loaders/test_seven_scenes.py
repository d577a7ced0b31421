"""7-Scenes: conventions of miniature and real files, both kinds of depth, everything that can be wrong with a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from known_scene import Known, known_scene
from miniatures_indoor import constant, halve, write_seven_scenes
from opening import disagreement, opened, refused, truncate, whole
from real_scenes import sample

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.geometry_checks.pairs import misread
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.frames import choose_frames
from fgq_bench.loaders.scene import Scene

NUMBERS = [0, 2, 10]


@pytest.fixture(scope="module")
def known() -> Known:
    return known_scene(640, 480, 525)


@pytest.fixture(scope="module")
def pristine(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("7scenes")
    write_seven_scenes(root / "chess/seq-03", known, known.c2w, NUMBERS)
    (root / "chess/seq-01").mkdir()
    (root / "chess/TestSplit.txt").write_text("sequence3\nsequence5\n\n")
    (root / "chess/TrainSplit.txt").write_text("sequence1\n")
    return root


def test_index_is_the_test_split(pristine: Path) -> None:
    data = opened("7scenes", pristine)
    assert data.indexed == {"chess/seq-03": ["000000", "000002", "000010"]}
    assert data.category("chess/seq-03") == "chess"


def test_cameras_depth_and_pictures_come_back(pristine: Path, known: Known) -> None:
    scene = whole(opened("7scenes", pristine), "chess/seq-03")
    assert scene.images.shape == (3, 3, 392, 518)
    assert scene.extrinsics is not None and scene.intrinsics is not None and scene.depth is not None
    torch.testing.assert_close(scene.extrinsics.double(), torch.from_numpy(known.w2c[:, :3]), atol=1e-5, rtol=0)
    k = torch.tensor([[525 * 518 / 640, 0, 259], [0, 525 * 392 / 480, 196], [0, 0, 1]])
    torch.testing.assert_close(scene.intrinsics, k.expand(3, 3, 3))
    assert float(scene.depth[0, 196, 259]) == pytest.approx(known.depth[0, 240, 320], abs=0.01)
    assert disagreement(scene) < 0.01


def test_poses_misread_do_not_agree(pristine: Path, known: Known, tmp_path: Path) -> None:
    assert disagreement(misread(whole(opened("7scenes", pristine), "chess/seq-03"))) > 0.1
    write_seven_scenes(tmp_path / "chess/seq-03", known, known.w2c, NUMBERS)
    (tmp_path / "chess/TestSplit.txt").write_text("sequence3")
    assert disagreement(whole(opened("7scenes", tmp_path), "chess/seq-03")) > 0.1


def test_raw_depth_is_another_file_with_invalid_pixels(pristine: Path) -> None:
    projected = whole(opened("7scenes", pristine), "chess/seq-03")
    raw = whole(opened("7scenes", pristine, "quantvggt"), "chess/seq-03")
    assert raw.depth is not None and projected.depth is not None and raw.mask is not None and projected.mask is not None
    assert not raw.mask[:, : 392 * 120 // 480].any()  # 65535, 0, beyond 10 m
    assert raw.mask[:, 392 * 120 // 480 :].all()
    assert projected.mask.all()
    # The two protocols resize by 522 and 518 of 640 pixels: their pixels look 0.8 % apart, 2 mm on average here.
    torch.testing.assert_close((raw.depth - projected.depth)[raw.mask].mean(), torch.tensor(0.1), atol=4e-3, rtol=0)


def test_colour_may_be_jpg(root: Path, known: Known) -> None:
    for path in sorted((root / "chess/seq-03").glob("*.color.png")):
        shutil.move(path, path.with_suffix(".jpg"))
    data = opened("7scenes", root)
    assert data.indexed["chess/seq-03"] == ["000000", "000002", "000010"]
    assert whole(data, "chess/seq-03").images.shape[0] == 3


def remove(name: str) -> Callable[[Path], object]:
    return lambda place: (place / name).unlink()


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda place: (place / name).write_text(text)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no projected depth": (
        remove("frame-000002.depth.proj.png"),
        r"frame-000002\.depth\.proj\.png: no such file; make it with .*simplerecon.*--protocol quantvggt",
    ),
    "no pose": (remove("frame-000002.pose.txt"), r"frame-000002\.pose\.txt: no such file"),
    "words for a pose": (write("frame-000000.pose.txt", "1 2 three"), r"frame-000000\.pose\.txt: 4 x 4 numbers"),
    "short pose": (write("frame-000000.pose.txt", "1 2 3"), r"frame-000000\.pose\.txt: 4 x 4 numbers"),
    "nan pose": (write("frame-000010.pose.txt", "nan " * 16), r"frame 000010: pose is not finite"),
    "singular pose": (write("frame-000010.pose.txt", "0 " * 16), r"a pose is not a rotation"),
    "truncated picture": (
        lambda place: truncate(place / "frame-000002.color.png"),
        r"frame-000002\.color\.png: not a readable picture",
    ),
    "resized picture": (
        lambda place: halve(place / "frame-000002.color.png"),
        r"frame-000002\.color\.png: 640 x 480 pixels are expected",
    ),
    "colour for depth": (
        lambda place: shutil.copy(place / "frame-000002.color.png", place / "frame-000002.depth.proj.png"),
        r"depth\.proj\.png: a one-channel 16-bit picture",
    ),
    "metres in whole numbers": (
        lambda place: constant(place.glob("*.proj.png"), 3),
        r"median depth is 0\.003 m.*wrong units\?",
    ),
    "empty depth": (
        lambda place: constant(place.glob("*.proj.png"), 65535),
        r"no pixel has a valid depth",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(root: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    data = opened("7scenes", root)
    assert data.indexed
    spoil(root / "chess/seq-03")
    refused(data, "chess/seq-03", message)


def test_no_frames_and_unknown_frames_are_refused(pristine: Path) -> None:
    data = opened("7scenes", pristine)
    for names, message in (([], "no frames"), (["000001"], "no such file"), (["/../../../../x"], "leads out of")):
        with pytest.raises(UserError, match=message):
            data.read("chess/seq-03", names)


@pytest.mark.parametrize("line", ["sequence../../..", "/etc", "seq-03", "sequence٣"])
def test_split_names_nothing_but_sequences(root: Path, line: str) -> None:
    (root / "chess/TestSplit.txt").write_text(f"sequence3\n{line}\n")
    with pytest.raises(UserError, match=r"TestSplit\.txt:2: 'sequence3' or the like is expected"):
        opened("7scenes", root).frame_list()


def test_scenes_may_be_links_to_another_disk(root: Path, tmp_path: Path) -> None:
    shutil.move(root / "chess/seq-03", tmp_path / "elsewhere")
    (root / "chess/seq-03").symlink_to(tmp_path / "elsewhere")
    assert len(whole(opened("7scenes", root), "chess/seq-03").images) == len(NUMBERS)


def test_layout_errors_say_what_is_expected(tmp_path: Path, pristine: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened("7scenes", tmp_path / "nowhere").frame_list()
    with pytest.raises(UserError, match=r"expected <scene>/TestSplit\.txt"):
        opened("7scenes", pristine / "chess").frame_list()
    with pytest.raises(UserError, match="option 'dpeth'"):
        open_dataset(load_card(DatasetCard, "7scenes").model_copy(update={"options": {"dpeth": "raw"}}), pristine)


def test_what_is_missing_is_listed(root: Path) -> None:
    missing = opened("7scenes", root).incomplete()
    assert [line for line in missing if line.startswith("scene ")] == [
        f"scene {name}: no TestSplit.txt" for name in ("fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
    ]
    assert "chess/seq-05: no frames (unpack chess/seq-05.zip)" in missing
    for path in (root / "chess/seq-03").glob("*.proj.png"):
        path.unlink()
    assert any(line.startswith("chess/seq-03: no .depth.proj.png") for line in opened("7scenes", root).incomplete())
    assert not any("proj" in line for line in opened("7scenes", root, "quantvggt").incomplete())


def test_frames_are_those_of_the_public_list() -> None:
    listed = json.loads((sample("frame_lists") / "7scenes_mv-recon_seq-id-map-kf200.json").read_text())
    entry = opened("7scenes", Path(".")).entry
    index = {name: [f"{n:06d}" for n in range(500 if name.startswith("stairs") else 1000)] for name in listed}
    assert choose_frames(entry, index) == {name: [f"{n:06d}" for n in numbers] for name, numbers in listed.items()}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The real sample under its official names; raw depth, focal length 525."""
    source = sample("7scenes/redkitchen/seq-png")
    root = tmp_path_factory.mktemp("real")
    shutil.copytree(source, root / "redkitchen/seq-01")
    (root / "redkitchen/TestSplit.txt").write_text("sequence1\n")
    return whole(opened("7scenes", root, "quantvggt"), "redkitchen/seq-01")


def test_real_depth_agrees_in_the_depth_camera(kitchen: Scene) -> None:
    assert kitchen.intrinsics is not None
    depth_camera = kitchen.intrinsics.clone()
    depth_camera[:, [0, 1], [0, 1]] *= 585 / 525
    true = replace(kitchen, intrinsics=depth_camera)
    assert disagreement(true) < 0.010  # every frame with the next one
    apart = [(0, 3), (2, 5), (4, 7), (6, 9)]
    assert disagreement(true, apart) < 0.015
    assert disagreement(kitchen, apart) > 0.025
    assert disagreement(misread(true), apart) > 0.150


def test_real_jpg_frames_are_read(tmp_path: Path) -> None:
    shutil.copytree(sample("7scenes/redkitchen/seq-jpg"), tmp_path / "redkitchen/seq-01")
    (tmp_path / "redkitchen/TestSplit.txt").write_text("sequence1\n")
    assert whole(opened("7scenes", tmp_path, "quantvggt"), "redkitchen/seq-01").images.shape == (10, 3, 392, 518)
