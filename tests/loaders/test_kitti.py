"""KITTI's depth selection: metres, invalid pixels, native resolution, single frames and videos, faults of a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from known_scene import Known, known_scene
from miniatures_indoor import constant, integers, write_kitti
from opening import opened, refused, truncate, whole

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.frames import choose_frames
from fgq_bench.loaders.kitti import DEPTHS, DRIVES, Kitti

DRIVE, OTHER = DRIVES[1], DRIVES[0]
NUMBERS = [5, 6, 10]


@pytest.fixture(scope="module")
def known() -> Known:
    return known_scene(248, 75, 144)


@pytest.fixture(scope="module")
def pristine(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kitti")
    write_kitti(root, DRIVE, known, NUMBERS)
    write_kitti(root, OTHER, known, NUMBERS[:2])
    shutil.copy(
        root / f"image_gathered/{DRIVE}/0000000005.png", root / f"image_gathered/{DRIVE}/0000000000.png"
    )  # without depth
    return root


@pytest.mark.parametrize("name", ["kitti-mono", "kitti-video"])
def test_index_is_what_has_depth(pristine: Path, name: str) -> None:
    frames = ["0000000005", "0000000006", "0000000010"]
    assert list(opened(name, pristine).indexed.items()) == [(OTHER, frames[:2]), (DRIVE, frames)]


def test_depth_comes_back_at_its_own_resolution(pristine: Path, known: Known) -> None:
    scene = whole(opened("kitti-video", pristine), DRIVE)
    assert scene.images.shape == (3, 3, 154, 504)
    assert scene.extrinsics is None and scene.intrinsics is None
    assert scene.depth is not None and scene.mask is not None
    assert scene.depth.shape == scene.mask.shape == (3, 75, 248)
    assert not scene.mask[:, :37].any()
    assert scene.mask[:, 37:].all()
    true = torch.from_numpy(known.depth[:, 37:]).float()
    torch.testing.assert_close(scene.depth[:, 37:], true, atol=0.5 / 256 + 1e-6, rtol=0)


def test_frames_alone_are_sequences(pristine: Path) -> None:
    data = opened("kitti-mono", pristine)
    chosen = choose_frames(data.entry, data.indexed)
    assert list(chosen)[:2] == [f"{OTHER}/0000000005", f"{OTHER}/0000000006"]
    assert len(chosen) == 5
    scene = data.read(f"{DRIVE}/0000000010", ["0000000010"])
    assert scene.images.shape == (1, 3, 154, 504)
    assert scene.depth is not None
    video = whole(opened("kitti-video", pristine), DRIVE)
    assert video.depth is not None
    assert torch.equal(scene.depth[0], video.depth[2])


def test_only_the_first_frames_of_a_drive(pristine: Path) -> None:
    card = load_card(DatasetCard, "kitti-video").model_copy(update={"options": {"first": 2}})
    data = open_dataset(card, pristine)
    assert isinstance(data, Kitti)
    assert data.indexed[DRIVE] == ["0000000005", "0000000006"]
    assert opened("kitti-mono", pristine).setting.options == {"first": 110}
    with pytest.raises(UserError, match="option 'first'"):
        open_dataset(card.model_copy(update={"options": {"first": 0}}), pristine)


def test_frames_and_their_drive_are_the_same_pictures(pristine: Path) -> None:
    """So that none is learned from and scored."""
    mono, video = opened("kitti-mono", pristine), opened("kitti-video", pristine)
    assert mono.global_name(f"{DRIVE}/0000000005") == video.global_name(DRIVE)


DEPTH, IMAGE = (f"{folder}/{DRIVE}/0000000006.png" for folder in ("groundtruth_depth_gathered", "image_gathered"))
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no picture": (lambda root: (root / IMAGE).unlink(), r"image_gathered/.*/0000000006\.png: no such file"),
    "no depth": (lambda root: (root / DEPTH).unlink(), r"groundtruth_depth_gathered/.*/0000000006\.png: no such file"),
    "truncated picture": (lambda root: truncate(root / IMAGE), r"0000000006\.png: not a readable picture"),
    "truncated depth": (lambda root: truncate(root / DEPTH), r"0000000006\.png: not a readable picture"),
    "colour for depth": (
        lambda root: shutil.copy(root / IMAGE, root / DEPTH),
        r"0000000006\.png: a one-channel 16-bit picture",
    ),
    "another size": (
        lambda root: integers(root / DEPTH, np.full((74, 248), 512.0)),
        r"depth map of 248 x 74 does not cover this picture of 248 x 75",
    ),
    "metres in whole numbers": (
        lambda root: constant((root / DEPTH).parent.iterdir(), 2),
        r"median depth is 0\.00781 m.* wrong units\?",
    ),
    "all invalid": (
        lambda root: constant((root / DEPTH).parent.iterdir(), 0),
        r"no pixel has a valid depth",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(root: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    data = opened("kitti-video", root)
    assert data.indexed
    spoil(root)
    refused(data, DRIVE, message)


def test_no_frames_and_names_that_lead_elsewhere_are_refused(pristine: Path) -> None:
    data = opened("kitti-video", pristine)
    for names, message in (([], "no frames"), (["../../../x"], "leads out of")):
        with pytest.raises(UserError, match=f"kitti-video, sequence {DRIVE}: .*{message}"):
            data.read(DRIVE, names)


def test_layout_errors_say_what_is_expected(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened("kitti-mono", tmp_path / "nowhere").frame_list()
    shutil.rmtree(root / "image_gathered")
    with pytest.raises(UserError, match="expected the folders image_gathered and groundtruth_depth_gathered"):
        opened("kitti-mono", root).frame_list()


def test_what_is_missing_is_listed(root: Path) -> None:
    shutil.rmtree(root / f"groundtruth_depth_gathered/{OTHER}")
    (root / f"groundtruth_depth_gathered/{OTHER}").mkdir()  # a drive without frames is left out
    (root / IMAGE).unlink()
    missing = opened("kitti-video", root).incomplete()
    assert missing[0] == f"drive {OTHER}: no depth maps in groundtruth_depth_gathered"
    assert len(missing) == 14
    assert missing[-2] == f"drive {DRIVE}: 3 of 110 frames, number 7 is the first that is not here in {DEPTHS}"
    assert missing[-1] == f"drive {DRIVE}: 1 of 3 pictures are not in image_gathered"
