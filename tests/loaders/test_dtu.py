"""DTU: millimetres, cameras at the depth map's resolution, eroded masks, real camera files, faults of a copy."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from known_scene import Known, known_scene
from miniatures_indoor import write_dtu
from opening import disagreement, opened, refused, truncate, whole
from PIL import Image
from real_scenes import sample

from fgq_bench.errors import UserError
from fgq_bench.geometry_checks.pairs import misread
from fgq_bench.loaders.dtu import SCANS, erode
from fgq_bench.loaders.frames import choose_frames

MASK = np.zeros((96, 128), dtype=np.bool_)
MASK[20:, 30:100] = True  # touches the lower border, which must not limit it


@pytest.fixture(scope="module")
def known() -> Known:
    """Principal point 4 pixels above the middle."""
    return known_scene(128, 96, 110, top=20)


@pytest.fixture(scope="module")
def pristine(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dtu")
    write_dtu(root / "scan9", known, 2, np.ones_like(MASK))
    write_dtu(root / "scan10", known, 2, MASK)
    write_dtu(root / "scan2", known, 2, MASK)  # not of the test split
    return root


def test_index_is_the_test_split_in_the_published_order(pristine: Path) -> None:
    frames = ["00000000", "00000001", "00000002"]
    assert list(opened("dtu", pristine).indexed.items()) == [("scan10", frames), ("scan9", frames)]


def test_cameras_depth_and_pictures_come_back(pristine: Path, known: Known) -> None:
    scene = whole(opened("dtu", pristine), "scan9")
    assert scene.images.shape == (3, 3, 392, 518)
    assert scene.extrinsics is not None and scene.intrinsics is not None and scene.depth is not None
    torch.testing.assert_close(scene.extrinsics.double(), torch.from_numpy(known.w2c[:, :3]), atol=1e-5, rtol=0)
    x, y = 518 / 128, 392 / 96
    assert known.intrinsics[1, 2] == 44
    k = torch.tensor([[110 * x, 0, 64 * x], [0, 110 * y, 44 * y], [0, 0, 1]])
    torch.testing.assert_close(scene.intrinsics, k.expand(3, 3, 3))
    assert float(scene.depth[1, 196, 259]) == pytest.approx(known.depth[1, 48, 64], abs=0.01)
    assert disagreement(scene) < 0.02
    assert disagreement(misread(scene)) > 0.1


def test_intrinsics_are_those_of_the_stored_picture(pristine: Path, known: Known) -> None:
    frame = opened("dtu", pristine).read_frame("scan9", "00000000")
    assert frame.intrinsics is not None
    assert np.allclose(frame.intrinsics[:2], 2 * known.intrinsics[:2])
    assert frame.aspect == 128 / 96


def test_pictures_take_the_shape_of_their_depth_map(root: Path, known: Known) -> None:
    for path in (root / "scan9/images").iterdir():
        Image.open(path).resize((256, 256)).save(path)
    scene = whole(opened("dtu", root), "scan9")
    assert scene.images.shape == (3, 3, 392, 518)
    assert disagreement(scene) < 0.02


def test_depth_is_valid_within_the_eroded_mask(pristine: Path) -> None:
    depth = opened("dtu", pristine).read_frame("scan10", "00000000").depth
    assert depth is not None
    expected = np.zeros_like(MASK)
    expected[25:, 35:96] = True  # 5 pixels less at the start, 4 at the end, none at the border
    assert np.array_equal(depth > 0, expected)


def test_erosion_is_that_of_opencv() -> None:
    """cv2.erode: the least of pixels x - 5 ... x + 4, as anchor 5 of a kernel of 10 says; the outside never limits."""
    mask = (np.random.default_rng(0).random((60, 70)) > 0.01).astype(np.uint8)
    padded = np.pad(mask, 5, constant_values=1)
    shifted = [padded[5 + i : 65 + i, 5 + j : 75 + j] for i in range(-5, 5) for j in range(-5, 5)]
    assert np.array_equal(erode(mask), np.min(shifted, 0))


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def archived(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.eye(3))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rescale(scan: Path, factor: float) -> None:
    for path in (scan / "depths").iterdir():
        np.save(path, (np.load(path) * factor).astype(np.float32))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no depth": (lambda scan: (scan / "depths/00000001.npy").unlink(), r"depths/00000001\.npy: no such file"),
    "no mask": (lambda scan: (scan / "binary_masks/00000001.png").unlink(), r"binary_masks/00000001\.png: no such"),
    "no camera": (lambda scan: (scan / "cams/00000001_cam.txt").unlink(), r"cams/00000001_cam\.txt: no such file"),
    "truncated picture": (lambda scan: truncate(scan / "images/00000001.jpg"), r"00000001\.jpg: not a readable"),
    "truncated depth": (lambda scan: truncate(scan / "depths/00000001.npy"), r"00000001\.npy: not a readable array"),
    "pickle in an array": (lambda scan: pickled(scan / "depths/00000001.npy"), r"\.npy: not a readable array .*Object"),
    "pickle for an array": (
        lambda scan: (scan / "depths/00000001.npy").write_bytes(pickle.dumps({"a": 1})),
        r"00000001\.npy: not a readable array",
    ),
    "archive for an array": (
        lambda scan: archived(scan / "depths/00000001.npy"),
        r"00000001\.npy: not a readable array .*magic",
    ),
    "no word": (
        lambda scan: edit(scan / "cams/00000001_cam.txt", "intrinsic", "inner"),
        r"00000001_cam\.txt: no line 'intrinsic'",
    ),
    "too few numbers": (
        lambda scan: edit(scan / "cams/00000001_cam.txt", "0.0 0.0 0.0 1.0", ""),
        r"00000001_cam\.txt: 4 x 4 numbers are expected",
    ),
    "nan pose": (
        lambda scan: edit(scan / "cams/00000001_cam.txt", "extrinsic\n", "extrinsic\nnan "),
        r"frame 00000001: pose is not finite",
    ),
    "cameras of another resolution": (
        lambda scan: edit(scan / "cams/00000001_cam.txt", "64.0", "16.0"),
        r"00000001\.npy: 128 x 96 pixels do not fit a principal point at x = 16\.0",
    ),
    "metres": (lambda scan: rescale(scan, 1e-3), r"median depth is 0\.00.* wrong units\?"),
    "micrometres": (lambda scan: rescale(scan, 1e3), r"median depth is .*e\+03 m.* wrong units\?"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(root: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(root / "scan9")
    refused(opened("dtu", root), "scan9", message)


def test_no_frames_and_names_that_lead_elsewhere_are_refused(pristine: Path) -> None:
    for names, message in (([], "no frames"), (["../../../etc/x"], "leads out of")):
        with pytest.raises(UserError, match=f"dtu, sequence scan9: .*{message}"):
            opened("dtu", pristine).read("scan9", names)


def test_layout_errors_say_what_is_expected(tmp_path: Path, pristine: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened("dtu", tmp_path / "nowhere").frame_list()
    for root in (tmp_path, pristine / "scan9"):
        with pytest.raises(UserError, match=r"expected scan1/images/00000000\.jpg"):
            opened("dtu", root).frame_list()


def test_what_is_missing_is_listed(pristine: Path) -> None:
    missing = opened("dtu", pristine).incomplete()
    assert len(missing) == 22
    assert missing[:2] == [
        "scan1: 0 of 49 frames, number 0 is the first that is not here",
        "scan10: 3 of 49 frames, number 3 is the first that is not here",
    ]


def test_frames_are_those_of_the_public_list() -> None:
    listed = json.loads((sample("frame_lists") / "DTU_mv-recon_seq-id-map-kf5.json").read_text())
    assert list(listed) == SCANS
    index = {scan: [f"{n:08d}" for n in range(49)] for scan in SCANS}
    for protocol in ("fgq", "quantvggt"):
        chosen = choose_frames(opened("dtu", Path("."), protocol).entry, index)
        assert chosen == {scan: [f"{n:08d}" for n in numbers] for scan, numbers in listed.items()}


def test_axes_of_the_real_cameras_meet(tmp_path: Path) -> None:
    """36 real camera files: least-squares point of the optical axes, and how far they pass by it."""
    cameras = sorted(sample("dtu_cameras/Cameras").glob("*_cam.txt"))
    known = known_scene(128, 96, 110, top=20)
    write_dtu(tmp_path / "scan1", known, 1, np.ones_like(MASK))
    for folder, suffix in (("images", ".jpg"), ("binary_masks", ".png"), ("depths", ".npy")):
        first = tmp_path / "scan1" / folder / f"00000000{suffix}"
        for camera in cameras:
            place = first.with_name(camera.name.removesuffix("_cam.txt") + suffix)
            if suffix == ".npy":
                np.save(place, np.full((1200, 1600), 600, dtype=np.float32))
            elif place != first:
                shutil.copy(first, place)
    for camera in cameras:
        shutil.copy(camera, tmp_path / "scan1/cams" / camera.name)
    data = opened("dtu", tmp_path)
    found = [data.read_frame("scan1", camera.name.removesuffix("_cam.txt")).extrinsics for camera in cameras]
    poses = np.stack([pose for pose in found if pose is not None])
    assert len(poses) == 36
    axes, centres = poses[:, 2, :3], -np.einsum("sji,sj->si", poses[:, :, :3], poses[:, :, 3])
    across = np.eye(3) - axes[:, :, None] * axes[:, None]
    point = np.linalg.solve(across.sum(0), np.einsum("sij,sj->i", across, centres))
    distances = np.linalg.norm(np.einsum("sij,sj->si", across, point - centres), axis=1)
    print(f"median distance {np.median(distances) * 1000:.3f} mm, at most {distances.max() * 1000:.3f} mm")
    assert np.median(distances) < 0.35e-3  # metres
    assert 0.3 < np.median(np.linalg.norm(centres - point, axis=1)) < 1
