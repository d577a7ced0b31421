"""EXIF orientation: pictures are as their photographer held the camera, unless something was measured in their pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from opening import opened
from PIL import Image, ImageOps

from fgq_bench.errors import BadData
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.orientation import ORIENTATION, upright
from fgq_bench.loaders.reading import read_picture


def photograph(path: Path, orientation: int | None) -> Image.Image:
    """A picture of 56 x 42 stored pixels that no turn leaves the same."""
    rows, columns = np.mgrid[:42, :56]
    image = Image.fromarray(np.stack([rows * 6, columns * 4, rows * 0], -1).astype(np.uint8))
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    image.save(path, exif=exif, lossless=True)  # of WebP; others pass over it
    return image


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("orientation", [None, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_every_orientation_is_pillows(tmp_path: Path, orientation: int | None, suffix: str) -> None:
    photograph(tmp_path / f"a{suffix}", orientation)
    with Image.open(tmp_path / f"a{suffix}") as image:
        image.load()
    assert np.array_equal(np.asarray(upright(image)), np.asarray(ImageOps.exif_transpose(image)))


def folder(root: Path) -> FileDataset:
    return opened("folder", root)


def test_a_phones_pictures_stand(tmp_path: Path) -> None:
    for name in ("plain", "lying", "standing"):
        (tmp_path / name).mkdir()
    photograph(tmp_path / "plain/0.jpg", None)
    photograph(tmp_path / "lying/0.jpg", 1)
    photograph(tmp_path / "standing/0.jpg", 6)
    data = folder(tmp_path)
    assert data.load("lying").images.shape[-2:] == (392, 518)
    assert data.load("standing").images.shape[-2:] == (518, 518)
    shown = data.load("standing").images[0, 0]  # red grows with stored rows, which run from right to left
    assert float(shown[:, 0].mean()) > float(shown[:, -1].mean())


def test_only_turned_pictures_have_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for turned in (False, True):
        place = tmp_path / str(turned)
        place.mkdir()
        photograph(place / "0.jpg", 6 if turned else 1)
        ours = folder(place).source()["pictures"]
        with monkeypatch.context() as patch:
            patch.setattr("fgq_bench.loaders.folder.turn_of", lambda image: None)
            digests.append((ours, folder(place).source()["pictures"]))
    assert digests[0][0] == digests[0][1]
    assert digests[1][0] != digests[1][1]


@pytest.mark.parametrize("measured", ["intrinsics", "depth"])
def test_what_was_measured_in_stored_pixels_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: str
) -> None:
    photograph(tmp_path / "0.jpg", 6)
    data = folder(tmp_path)
    values = {"intrinsics": np.array([[50.0, 0, 28], [0, 50, 21], [0, 0, 1]]), "depth": np.ones((42, 56), np.float32)}
    frame = Frame(tmp_path / "0.jpg", **{measured: values[measured]})  # type: ignore[arg-type]
    monkeypatch.setattr(data, "read_frame", lambda sequence, name: frame)
    assert data.load(".").images.shape[-2:] == (392, 518)


def test_broken_exif_data_turn_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.jpg"
    photograph(path, 6)
    content = path.read_bytes()
    at = content.index(b"Exif\0\0")
    path.write_bytes(content[: at + 6] + b"XX" + content[at + 8 :])
    assert folder(tmp_path).load(".").images.shape[-2:] == (392, 518)


def test_a_photograph_of_108_megapixels_is_read(tmp_path: Path) -> None:
    Image.new("1", (12000, 9000)).save(tmp_path / "0.png")
    assert picture_size(tmp_path / "0.png") == read_picture(tmp_path / "0.png").size == (12000, 9000)


def test_what_is_larger_is_refused_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 20000, 15000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    for read in (picture_size, read_picture):
        with pytest.raises(BadData, match=r"0\.png: more than 250 million pixels, the most that is read"):
            read(path)
