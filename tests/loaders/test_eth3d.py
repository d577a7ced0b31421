"""ETH3D: both forms of cameras, headerless depth, everything that can be wrong with a copy."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from known_scene import Known, known_scene
from miniatures_indoor import halve, write_eth3d, write_eth3d_arrays, write_eth3d_colmap
from opening import disagreement, opened, refused, truncate, whole
from real_scenes import sample

from fgq_bench.errors import BadData, UserError
from fgq_bench.geometry_checks.pairs import misread
from fgq_bench.loaders.eth3d import SCENES
from fgq_bench.loaders.frames import choose_frames

NUMBERS = [259, 260, 1002]
FRAMES = ["DSC_0259", "DSC_0260", "DSC_1002"]
FORMS = ["facade", "office", "pipes"]  # .npz; COLMAP with custom pictures; COLMAP with official ones
CUSTOM, OFFICIAL = "custom_undistorted", "dslr_images_undistorted"


@pytest.fixture(scope="module")
def known() -> Known:
    """Principal point 4 pixels above the middle."""
    return known_scene(144, 96, 130, top=28)


@pytest.fixture(scope="module")
def pristine(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("eth3d")
    depth = known.depth.copy()
    depth[:, :16] = np.inf  # the scanner does not see it
    for scene, folder in zip(FORMS, (CUSTOM, CUSTOM, OFFICIAL), strict=True):
        write_eth3d(root / scene, known, folder, depth, NUMBERS)
    write_eth3d_arrays(root / "facade", known, NUMBERS)
    for scene in ("office", "pipes"):
        write_eth3d_colmap(root / scene, known, NUMBERS, OFFICIAL)
    return root


def test_index_is_in_the_order_of_names(pristine: Path) -> None:
    assert opened("eth3d", pristine).indexed == dict.fromkeys(FORMS, FRAMES)


@pytest.mark.parametrize("form", FORMS)
def test_cameras_depth_and_pictures_come_back(pristine: Path, known: Known, form: str) -> None:
    scene = whole(opened("eth3d", pristine), form)
    assert scene.images.shape == (3, 3, 350, 518)
    assert scene.extrinsics is not None and scene.intrinsics is not None
    assert scene.depth is not None and scene.mask is not None
    torch.testing.assert_close(scene.extrinsics.double(), torch.from_numpy(known.w2c[:, :3]), atol=1e-5, rtol=0)
    x, y = 518 / 144, 350 / 96
    assert known.intrinsics[1, 2] == 44
    k = torch.tensor([[130 * x, 0, 72 * x], [0, 130 * y, 44 * y], [0, 0, 1]])
    torch.testing.assert_close(scene.intrinsics, k.expand(3, 3, 3))
    assert not scene.mask[:, :58].any()
    assert scene.mask[:, 59:].all()
    assert float(scene.depth[1, 175, 259]) == pytest.approx(known.depth[1, 48, 72], abs=0.01)
    assert disagreement(scene) < 0.02
    assert disagreement(misread(scene)) > 0.1


def test_quaternions_in_another_order_do_not_agree(root: Path) -> None:
    """What xyzw for wxyz would give."""
    path = root / "office/dslr_calibration_undistorted/images.txt"
    lines = [line.split() for line in path.read_text().splitlines()]
    rolled = [[x[0], *x[2:5], x[1], *x[5:]] if len(x) == 10 and x[0] != "#" else x for x in lines]
    path.write_text("\n".join(" ".join(words) for words in rolled) + "\n")
    assert disagreement(whole(opened("eth3d", root), "office")) > 0.1


def scaled(scene: Path, factor: float) -> None:
    for path in (scene / "ground_truth_depth").rglob("*.JPG"):
        (np.fromfile(path, "<f4") * factor).astype("<f4").tofile(path)


def camera(scene: Path, **arrays: object) -> None:
    np.savez(scene / "custom_undistorted_cam/DSC_0260.npz", **arrays)  # type: ignore[arg-type]


def single(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.eye(3))


def claim(path: Path, shape: str) -> None:
    """An array whose header says ``shape``, and which has no values."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("extrinsics.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


K = np.array([[130.0, 0, 72], [0, 130, 44], [0, 0, 1]])
DEPTH = Path("ground_truth_depth", CUSTOM, "DSC_0260.JPG")
PICTURE = Path("images", CUSTOM, "DSC_0260.JPG")
CAMERA = Path("custom_undistorted_cam/DSC_0260.npz")
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no depth": (lambda scene: (scene / DEPTH).unlink(), r"ground_truth_depth/.*DSC_0260\.JPG: no such file"),
    "no picture": (lambda scene: (scene / PICTURE).unlink(), r"images/.*DSC_0260\.JPG: no such file"),
    "no camera": (lambda scene: (scene / CAMERA).unlink(), r"DSC_0260\.npz: no such file"),
    "truncated picture": (lambda scene: truncate(scene / PICTURE), r"DSC_0260\.JPG: not a readable picture"),
    "truncated depth": (
        lambda scene: truncate(scene / DEPTH),
        r"DSC_0260\.JPG: 27648 bytes; 144 x 96 values of float32, as the picture has pixels, are 55296",
    ),
    "truncated camera": (lambda scene: truncate(scene / CAMERA), r"DSC_0260\.npz: no camera with"),
    "text for a camera": (lambda scene: (scene / CAMERA).write_text("x"), r"DSC_0260\.npz: no camera with"),
    "array for a camera": (
        lambda scene: single(scene / CAMERA),
        r"DSC_0260\.npz: no camera with",
    ),
    "pickle in a camera": (
        lambda scene: camera(scene, extrinsics=np.array([{"a": 1}], dtype=object), intrinsics=np.eye(3)),
        r"DSC_0260\.npz: no camera with .*allow_pickle=False",
    ),
    "no extrinsics": (lambda scene: camera(scene, intrinsics=np.eye(3)), r"DSC_0260\.npz: no camera .*extrinsics"),
    "texts in a camera": (
        lambda scene: camera(scene, extrinsics=np.full((4, 4), "1"), intrinsics=K),
        r"DSC_0260\.npz: no camera with .*numbers are expected, not <U1",
    ),
    "camera that unpacks to too much": (
        lambda scene: np.savez_compressed(scene / CAMERA, extrinsics=np.zeros((800, 800)), intrinsics=K),
        r"DSC_0260\.npz: no camera with .*an archive that unpacks to 51\d+ bytes; at most 4194304 are read",
    ),
    "camera that claims too much": (
        lambda scene: claim(scene / CAMERA, "(1000000000, 4)"),
        r"DSC_0260\.npz: no camera with .*float64 \[1000000000, 4\] are more than",
    ),
    "wrong shapes": (
        lambda scene: camera(scene, extrinsics=np.eye(3), intrinsics=np.eye(4)),
        r"DSC_0260\.npz: extrinsics \[3, 3\], intrinsics \[4, 4\]",
    ),
    "nan pose": (
        lambda scene: camera(scene, extrinsics=np.full((4, 4), np.nan), intrinsics=K),
        r"frame DSC_0260: pose is not finite",
    ),
    "millimetres": (lambda scene: scaled(scene, 1000), r"median depth is .*e\+03 m.* wrong units\?"),
    "all invalid": (lambda scene: scaled(scene, np.inf), r"no pixel has a valid depth"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(root: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    data = opened("eth3d", root)
    assert data.indexed
    spoil(root / "facade")
    refused(data, "facade", message)


COLMAP_FAULTS = {
    "folder in images.txt": ("images.txt", f"{OFFICIAL}/DSC_0260", "../../../DSC_0260", r"leads out of the data set"),
    "root in images.txt": ("images.txt", f"{OFFICIAL}/DSC_0260", "/etc/DSC_0260", r"leads out of the data set"),
    "other size": ("cameras.txt", "PINHOLE 144 96", "PINHOLE 145 97", r"\.JPG: 144 x 96, but its camera .* 145 x 97"),
    "size not a number": ("cameras.txt", "PINHOLE 144 96", "PINHOLE nan 96", r"144 x 96, but its camera .* nan x 96"),
    "zero quaternion": ("images.txt", "{pose}", "0 0 0 0 0 0 0", r"pose is not finite"),
}


@pytest.mark.parametrize("fault", COLMAP_FAULTS)
def test_faults_of_a_reconstruction_are_named(root: Path, fault: str) -> None:
    name, old, new, message = COLMAP_FAULTS[fault]
    path = root / "office/dslr_calibration_undistorted" / name
    if old == "{pose}":
        old = " ".join(next(line for line in path.read_text().splitlines() if "DSC_0260" in line).split()[1:8])
    edit(path, old, new)
    refused(opened("eth3d", root), "office", message)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("cameras.txt", "PINHOLE", "THIN_PRISM_FISHEYE", r"cameras\.txt: .* is no PINHOLE camera"),
        ("cameras.txt", "0 PINHOLE", "5 PINHOLE", r"images\.txt: picture .* has camera 0"),
        ("cameras.txt", " 44.0", "", r"cameras\.txt: 6 numbers are expected"),
        ("images.txt", f" 0 {OFFICIAL}/DSC_0260.JPG", "", r"images\.txt: IMAGE_ID QW"),
    ],
)
def test_broken_reconstructions_are_named(root: Path, name: str, old: str, new: str, message: str) -> None:
    edit(root / "office/dslr_calibration_undistorted" / name, old, new)
    with pytest.raises(UserError, match=f"eth3d, office: .*{message}"):
        opened("eth3d", root).check_whole()


def stripped(text: str) -> str:
    """As programs leave it that drop blank lines."""
    return "".join(line for line in text.splitlines(keepends=True) if line.strip())


@pytest.mark.parametrize(
    "change", [stripped, lambda text: text + "\n\n \n", lambda text: text.replace("1.5 2.5 -1 3.5 4.5 7", "")]
)
def test_lines_of_a_reconstruction_are_known_by_what_they_are(root: Path, change: Callable[[str], str]) -> None:
    path = root / "office/dslr_calibration_undistorted/images.txt"
    before = whole(opened("eth3d", root), "office")
    path.write_text(change(path.read_text()))
    data = opened("eth3d", root)
    assert data.indexed["office"] == FRAMES
    after = whole(data, "office")
    assert before.extrinsics is not None and after.extrinsics is not None
    assert np.array_equal(before.extrinsics, after.extrinsics)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("images: 3", "images: 4"), r"images\.txt: 3 images, but its head says 4"),
        (lambda text: text.replace("DSC_0260.JPG", "DSC_0259.JPG"), r"images\.txt: a picture is named twice"),
        (lambda text: text.replace("1.5 2.5 -1 3.5 4.5 7", "1.5 2.5 -1 3.5"), r"images\.txt: IMAGE_ID QW"),
    ],
)
def test_reconstructions_that_contradict_themselves(root: Path, change: Callable[[str], str], message: str) -> None:
    path = root / "office/dslr_calibration_undistorted/images.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message):
        opened("eth3d", root).check_whole()


def test_a_broken_reconstruction_is_bad_data_of_its_own_scene(root: Path) -> None:
    names = opened("eth3d", root).indexed["pipes"]
    (root / "office/dslr_calibration_undistorted/images.txt").write_text("nothing")
    data = opened("eth3d", root)
    assert data.read("pipes", names).images.shape[0] == 3
    with pytest.raises(BadData, match=r"^eth3d, sequence office: .*images\.txt"):
        data.read("office", names)


def test_depth_of_distorted_pictures_is_not_read(root: Path) -> None:
    place = root / "pipes/ground_truth_depth"
    (place / OFFICIAL).rename(place / "dslr_images")
    data = opened("eth3d", root)
    refused(data, "pipes", r"ground_truth_depth/dslr_images_undistorted/DSC_0259\.JPG: no such file")
    assert "pipes: 3 of 3 frames have no depth map" in data.incomplete()


def test_no_frames_and_names_that_lead_elsewhere_are_refused(pristine: Path) -> None:
    for names, message in (([], "no frames"), (["../../../etc/x"], "leads out of"), (["DSC_0001"], "no such file")):
        for scene in ("facade", "office"):
            with pytest.raises(UserError, match=f"eth3d, sequence {scene}: .*{message}"):
                opened("eth3d", pristine).read(scene, names)


def test_layout_errors_say_what_is_expected(tmp_path: Path, pristine: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened("eth3d", tmp_path / "nowhere").frame_list()
    for root in (tmp_path, pristine / "facade"):
        with pytest.raises(UserError, match=r"expected <scene>/custom_undistorted_cam/\*\.npz"):
            opened("eth3d", root).frame_list()


def test_what_is_missing_is_listed(pristine: Path) -> None:
    missing = opened("eth3d", pristine).incomplete()
    assert missing[:10] == [f"scene {scene}: no cameras" for scene in SCENES if scene not in FORMS]
    assert missing[10:] == ["facade: 3 of 76 cameras", "office: 3 of 26 cameras", "pipes: 3 of 14 cameras"]


def test_frames_are_those_of_the_public_list() -> None:
    """Its scenes are as long as their last frame says, give or take 4 frames."""
    listed = json.loads((sample("frame_lists") / "ETH3D_mv-recon_seq-id-map-kf5.json").read_text())
    assert tuple(listed) == tuple(SCENES)
    index = {scene: [str(n) for n in range(numbers[-1] + 1)] for scene, numbers in listed.items()}
    chosen = choose_frames(opened("eth3d", Path(".")).entry, index)
    assert chosen == {scene: [str(n) for n in numbers] for scene, numbers in listed.items()}


def test_resized_pictures_are_refused(root: Path) -> None:
    halve(root / "facade" / PICTURE)
    refused(opened("eth3d", root), "facade", r"DSC_0260\.JPG: 72 x 48 pixels do not fit a principal point")
