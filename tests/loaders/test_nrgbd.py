"""Neural RGB-D: OpenGL poses, numeric order, frames without a pose, everything that can be wrong with a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from known_scene import Floats, Known, known_scene
from miniatures_indoor import constant, halve, write_nrgbd
from opening import disagreement, opened, refused, truncate, whole
from real_scenes import sample

from fgq_bench.errors import BadData, UserError
from fgq_bench.geometry_checks.pairs import misread
from fgq_bench.loaders.frames import choose_frames
from fgq_bench.loaders.nrgbd import FOCAL, SCENES

NUMBERS = [0, 2, 10]  # in lexical order, 10 would come before 2
TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def known() -> Known:
    return known_scene(640, 480, FOCAL)


def write(root: Path, known: Known, c2w: Floats) -> Path:
    write_nrgbd(root / "kitchen", known, c2w, NUMBERS, poses=11)
    return root


@pytest.fixture(scope="module")
def pristine(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("nrgbd"), known, known.c2w @ TO_OPENGL)


def test_frames_without_a_pose_are_not_in_the_index(pristine: Path) -> None:
    data = opened("nrgbd", pristine)
    assert data.indexed == {"kitchen": ["0", "2", "10"]}
    with pytest.raises(UserError, match=r"nrgbd, sequence kitchen: .*poses\.txt: no pose of frame 1"):
        data.read("kitchen", ["0", "1"])


def test_the_stride_counts_frames_without_a_pose(root: Path) -> None:
    """n poses, every min(100, n / 2)-th of them: 0, 5, 10; frame 5 has no pose, and is left out then."""
    data = opened("nrgbd", root)
    assert data.frames == {"kitchen": ["0", "10"]}
    lines = (root / "kitchen/poses.txt").read_text().splitlines()
    lines[4:8] = lines[:4]  # frame 1
    (root / "kitchen/poses.txt").write_text("\n".join(lines))
    assert opened("nrgbd", root).frames == {"kitchen": ["0", "10"]}
    assert opened("nrgbd", root).indexed == {"kitchen": ["0", "1", "2", "10"]}


def test_depth_beyond_ten_metres_is_not_valid(root: Path) -> None:
    constant([root / "kitchen/depth/depth2.png"], 10_001)
    constant([root / "kitchen/depth/depth10.png"], 10_000)
    mask = whole(opened("nrgbd", root), "kitchen").mask
    assert mask is not None
    assert mask.flatten(1).any(1).tolist() == [True, False, True]
    assert opened("nrgbd", root).source()["options"] == {"farthest": 10.0}


def test_cameras_depth_and_pictures_come_back(pristine: Path, known: Known) -> None:
    scene = whole(opened("nrgbd", pristine), "kitchen")
    assert scene.images.shape == (3, 3, 392, 518)
    assert scene.extrinsics is not None and scene.intrinsics is not None and scene.depth is not None
    torch.testing.assert_close(scene.extrinsics.double(), torch.from_numpy(known.w2c[:, :3]), atol=1e-5, rtol=0)
    k = torch.tensor([[FOCAL * 522 / 640, 0, 259], [0, FOCAL * 392 / 480, 196], [0, 0, 1]])
    torch.testing.assert_close(scene.intrinsics, k.expand(3, 3, 3))
    assert float(scene.depth[2, 196, 259]) == pytest.approx(known.depth[2, 240, 320], abs=0.01)
    assert disagreement(scene) < 0.01


def test_poses_misread_do_not_agree(pristine: Path, known: Known, tmp_path: Path) -> None:
    assert disagreement(misread(whole(opened("nrgbd", pristine), "kitchen"))) > 0.1
    wrong = {"not OpenGL": known.c2w, "rows for columns": TO_OPENGL @ known.c2w, "w2c": known.w2c @ TO_OPENGL}
    for name, c2w in wrong.items():
        assert disagreement(whole(opened("nrgbd", write(tmp_path / name, known, c2w)), "kitchen")) > 0.1, name


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no picture": (lambda place: (place / "images/img2.png").unlink(), r"images/img2\.png: no such file"),
    "no depth": (lambda place: (place / "depth/depth10.png").unlink(), r"depth/depth10\.png: no such file"),
    "truncated picture": (lambda place: truncate(place / "images/img2.png"), r"img2\.png: not a readable picture"),
    "truncated depth": (lambda place: truncate(place / "depth/depth2.png"), r"depth2\.png: not a readable picture"),
    "resized picture": (lambda place: halve(place / "images/img2.png"), r"img2\.png: 640 x 480 pixels are expected"),
    "metres in whole numbers": (
        lambda place: constant((place / "depth").iterdir(), 3),
        r"median depth is 0\.003 m.*wrong units\?",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(root: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(root / "kitchen")
    refused(opened("nrgbd", root), "kitchen", message)


@pytest.mark.parametrize("name", ["../kitchen/0", "/etc/passwd", "-1", "x", ""])
def test_names_of_frames_cannot_lead_elsewhere(pristine: Path, name: str) -> None:
    with pytest.raises(UserError, match="no pose of frame"):
        opened("nrgbd", pristine).read("kitchen", [name])


def test_broken_poses_are_named(root: Path) -> None:
    path = root / "kitchen/poses.txt"
    lines = path.read_text().splitlines()
    for text, message in (
        ("\n".join(lines[:-1]), "numbers are expected"),
        ("\n".join(lines[:4]), "1 poses for 3 pictures"),
        ("one two", "numbers are expected"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"kitchen/poses\.txt: .*{message}"):
            opened("nrgbd", root).frame_list()


def test_broken_poses_are_bad_data_of_their_own_scene(root: Path) -> None:
    shutil.copytree(root / "kitchen", root / "staircase")
    names = opened("nrgbd", root).indexed["kitchen"]
    (root / "staircase/poses.txt").write_text("one two")
    data = opened("nrgbd", root)
    assert data.read("kitchen", names[:1]).images.shape[0] == 1
    with pytest.raises(BadData, match=r"^nrgbd, sequence staircase: .*poses\.txt: .*numbers are expected"):
        data.read("staircase", names[:1])


def test_sequences_without_any_pose_are_left_out(root: Path) -> None:
    path = root / "kitchen/poses.txt"
    path.write_text("nan nan nan nan\n" * 44)
    with pytest.raises(UserError, match="no sequence in"):
        opened("nrgbd", root).frame_list()
    with pytest.raises(UserError, match="no frames"):
        opened("nrgbd", root).read("kitchen", [])


def test_layout_errors_say_what_is_expected(tmp_path: Path, pristine: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened("nrgbd", tmp_path / "nowhere").frame_list()
    with pytest.raises(UserError, match=r"expected <scene>/poses\.txt"):
        opened("nrgbd", pristine / "kitchen").frame_list()


def test_what_is_missing_is_listed(pristine: Path) -> None:
    missing = opened("nrgbd", pristine).incomplete()
    assert len(missing) == 9
    assert "scene breakfast_room: no poses.txt" in missing
    assert missing[-1] == "scene kitchen: 3 of 11 frames, number 1 is the first that is not here"


def test_frames_are_those_of_the_public_list() -> None:
    """Its sequences are as long as their last frame says, give or take 99 frames."""
    listed = json.loads((sample("frame_lists") / "NRGBD_mv-recon_seq-id-map-kf100.json").read_text())
    assert tuple(listed) == SCENES
    index = {name: [str(n) for n in range(numbers[-1] + 1)] for name, numbers in listed.items()}
    chosen = choose_frames(opened("nrgbd", Path(".")).entry, index)
    assert chosen == {name: [str(n) for n in numbers] for name, numbers in listed.items()}
