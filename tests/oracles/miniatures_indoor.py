"""Writers of small data sets in the exact layout of the published ones: the documented conventions the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from known_scene import Floats, Known
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation


def integers(path: Path, values: Floats) -> None:
    """A 16-bit PNG."""
    Image.fromarray(np.round(values).astype(np.uint16)).save(path)


def constant(paths: Iterable[Path], value: int) -> None:
    """The same value for all pixels of 16-bit PNGs, and as many of them as before."""
    for path in paths:
        with Image.open(path) as image:
            width, height = image.size
        integers(path, np.full((height, width), float(value)))


def halve(path: Path) -> None:
    """Store a picture at half its size."""
    with Image.open(path) as image:
        half = image.resize((image.width // 2, image.height // 2))
    half.save(path)


def write_seven_scenes(place: Path, known: Known, c2w: Floats, numbers: Sequence[int], offset: float = 0.1) -> None:
    """A sequence of 7-Scenes; raw depth is the projected one plus ``offset`` metres, with invalid pixels."""
    place.mkdir(parents=True)
    for index, number in enumerate(numbers):
        stem = f"frame-{number:06d}"
        millimetres = known.depth[index] * 1000
        Image.fromarray(known.images[index]).save(place / f"{stem}.color.png")
        integers(place / f"{stem}.depth.proj.png", millimetres)
        raw = millimetres + offset * 1000
        raw[:40], raw[40:80], raw[80:120] = 65535, 0, 10_001
        integers(place / f"{stem}.depth.png", raw)
        rows = ("\t ".join(f"{value: .7e}" for value in row) + "\t \n" for row in c2w[index])
        (place / f"{stem}.pose.txt").write_text("".join(rows))


def write_nrgbd(place: Path, known: Known, c2w_opengl: Floats, numbers: Sequence[int], poses: int) -> None:
    """A scene of Neural RGB-D with ``poses`` poses, those nan that no frame has."""
    for folder in ("images", "depth"):
        (place / folder).mkdir(parents=True)
    listed = np.full((poses, 4, 4), np.nan)
    for index, number in enumerate(numbers):
        Image.fromarray(known.images[index]).save(place / f"images/img{number}.png")
        integers(place / f"depth/depth{number}.png", known.depth[index] * 1000)
        listed[number] = c2w_opengl[index]
    (place / "poses.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in listed.reshape(-1, 4)))


def write_dtu(scan: Path, known: Known, enlarge: int, mask: NDArray[np.bool_]) -> None:
    """A scan of DTU whose pictures are ``enlarge`` times as large as its depth maps; millimetres."""
    for folder in ("images", "depths", "binary_masks", "cams"):
        (scan / folder).mkdir(parents=True)
    for index in range(len(known.images)):
        picture = known.images[index].repeat(enlarge, 0).repeat(enlarge, 1)
        Image.fromarray(picture).save(scan / f"images/{index:08d}.jpg", quality=95)
        np.save(scan / f"depths/{index:08d}.npy", (known.depth[index] * 1000).astype(np.float32))
        Image.fromarray(mask.astype(np.uint8) * 255).save(scan / f"binary_masks/{index:08d}.png")
        extrinsic = known.w2c[index].copy()
        extrinsic[:3, 3] *= 1000
        (scan / f"cams/{index:08d}_cam.txt").write_text(
            f"extrinsic\n{_rows(extrinsic)}\nintrinsic\n{_rows(known.intrinsics)}\n425.0 2.5\n"
        )


def _rows(matrix: Floats) -> str:
    return "".join(" ".join(map(str, row)) + " \n" for row in matrix)


def write_eth3d(scene: Path, known: Known, folder: str, depth: Floats, numbers: Sequence[int]) -> None:
    """Pictures and depth of an ETH3D scene in ``folder`` of images and ground_truth_depth, without cameras."""
    for kind in ("images", "ground_truth_depth"):
        (scene / kind / folder).mkdir(parents=True)
    for index, number in enumerate(numbers):
        Image.fromarray(known.images[index]).save(scene / "images" / folder / f"DSC_{number:04d}.JPG", quality=95)
        depth[index].astype("<f4").tofile(scene / "ground_truth_depth" / folder / f"DSC_{number:04d}.JPG")


def write_eth3d_arrays(scene: Path, known: Known, numbers: Sequence[int]) -> None:
    """Cameras of an ETH3D scene as .npz files."""
    (scene / "custom_undistorted_cam").mkdir(parents=True)
    for index, number in enumerate(numbers):
        path = scene / f"custom_undistorted_cam/DSC_{number:04d}.npz"
        np.savez(path, intrinsics=known.intrinsics.astype(np.float32), extrinsics=known.w2c[index])


def write_eth3d_colmap(scene: Path, known: Known, numbers: Sequence[int], folder: str) -> None:
    """Cameras of an ETH3D scene in COLMAP's text format, pictures in reverse order, one line of points empty."""
    place = scene / "dslr_calibration_undistorted"
    place.mkdir(parents=True)
    k, (height, width) = known.intrinsics, known.depth.shape[1:]
    camera = f"0 PINHOLE {width} {height} {k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]}\n"
    (place / "cameras.txt").write_text(
        "# Camera list with one line of data per camera:\n# Number of cameras: 1\n" + camera
    )
    lines = ["# Image list with two lines of data per image:", "# Number of images: 3"]
    for index, number in reversed(list(enumerate(numbers))):
        x, y, z, w = Rotation.from_matrix(known.w2c[index, :3, :3]).as_quat()
        pose = " ".join(map(str, [w, x, y, z, *known.w2c[index, :3, 3]]))
        lines += [f"{index + 1} {pose} 0 {folder}/DSC_{number:04d}.JPG", "" if index == 1 else "1.5 2.5 -1 3.5 4.5 7"]
    (place / "images.txt").write_text("\n".join(lines) + "\n")


def write_kitti(root: Path, drive: str, known: Known, numbers: Sequence[int]) -> None:
    """A drive of KITTI's depth selection; the upper half of a map is empty, as LiDAR sees no sky."""
    for index, number in enumerate(numbers):
        for folder in ("image_gathered", "groundtruth_depth_gathered"):
            (root / folder / drive).mkdir(parents=True, exist_ok=True)
        depth = known.depth[index].copy()
        depth[: len(depth) // 2] = 0
        Image.fromarray(known.images[index]).save(root / "image_gathered" / drive / f"{number:010d}.png")
        integers(root / "groundtruth_depth_gathered" / drive / f"{number:010d}.png", depth * 256)
