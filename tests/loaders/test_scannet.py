"""ScanNet: what a miniature was written from is read back; frames without a pose are nobody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature_views import Views, render_views
from miniatures_scannet import write_scene
from PIL import Image

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import BadData, UserError
from fgq_bench.geometry import invert_rigid
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scannet import ScanNet


def opened(root: Path, **options: Any) -> ScanNet:
    card = load_card(DatasetCard, "scannet")
    data = open_dataset(card.model_copy(update={"options": {**card.options, **options}}), root)
    assert isinstance(data, ScanNet)
    return data


@pytest.fixture(scope="module")
def views() -> Views:
    return render_views(2, 12)


@pytest.fixture
def root(tmp_path: Path, views: Views) -> Path:
    write_scene(tmp_path, "scene0001_00", views)
    write_scene(tmp_path, "scene0000_01", views, step=10, lost=(0, 40))
    (tmp_path / "tasks").mkdir()  # of the official download: no scene
    return tmp_path


def test_frames_are_tracked_and_in_the_order_of_their_numbers(root: Path) -> None:
    assert opened(root).frames == {"scene0000_01": ["20", "60", "80", "100"]}
    assert opened(root, every=2).frames["scene0001_00"] == ["0", "2", "4", "6", "8", "10"]
    assert opened(root, every=1).frames["scene0000_01"] == [str(n) for n in (10, 20, 30, *range(50, 120, 10))]


def test_a_sparser_export_has_the_same_frames(root: Path) -> None:
    full = opened(root).frame_list_hash
    for folder in ("color", "pose"):
        for path in (root / "scene0000_01" / folder).iterdir():
            if int(path.stem) % 20:
                path.unlink()
    assert opened(root).frame_list_hash == full


def test_cameras_are_read_back(root: Path, views: Views) -> None:
    data = opened(root)
    for name in data.frames["scene0000_01"]:
        frame = data.read_frame("scene0000_01", name)
        assert frame.extrinsics is not None and frame.intrinsics is not None
        np.testing.assert_allclose(frame.extrinsics, views.w2c[int(name) // 10], atol=1e-5)
        np.testing.assert_allclose(frame.intrinsics, views.intrinsics, atol=1e-5)
        assert frame.depth is None


def test_a_scene_shows_what_its_cameras_see(root: Path, views: Views) -> None:
    scene = opened(root).load("scene0000_01")
    assert scene.images.shape == (4, 3, 518, 518)
    assert scene.extrinsics is not None
    centres = invert_rigid(scene.extrinsics)[:, :, 3].numpy()
    rotation, translation = views.w2c[:, :, :3], views.w2c[:, :, 3]
    expected = -np.einsum("sji,sj->si", rotation, translation)[[2, 6, 8, 10]]
    np.testing.assert_allclose(centres, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("pose/60.txt", None, "no such file"),
        ("pose/60.txt", "1 2 3", "4 x 4 numbers are expected"),
        ("pose/60.txt", "a pose", "4 x 4 numbers are expected"),
        ("pose/60.txt", "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 ١", "4 x 4 numbers are expected .digits are 0 to 9"),
        ("pose/60.txt", "1_0 " * 16, "4 x 4 numbers are expected .digits are 0 to 9"),
        ("pose/60.txt", "1 " * 10**6, "4 x 4 numbers are expected"),
        ("pose/60.txt", " " * (2**24 + 1), "not a readable text .16777217 bytes; at most 16777216 are read"),
        ("pose/60.txt", "2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1", "not a rotation"),
        ("color/60.jpg", "no picture", "not a readable picture"),
        ("intrinsic/intrinsic_color.txt", None, "no such file"),
        ("intrinsic/intrinsic_color.txt", "1 2", "4 x 4 numbers are expected"),
    ],
)
def test_damage_names_sequence_and_file(root: Path, path: str, content: str | None, message: str) -> None:
    file = root / "scene0000_01" / path
    file.unlink() if content is None else file.write_text(content)
    data = opened(root)
    assert "60" in data.frames["scene0000_01"]  # the list is the same, whatever is broken
    with pytest.raises(BadData, match=rf"^scannet, sequence scene0000_01: .*{message}") as caught:
        data.load("scene0000_01")
    assert message == "not a rotation" or path in str(caught.value)


def test_resized_pictures_do_not_fit_the_intrinsics(root: Path) -> None:
    for path in (root / "scene0000_01" / "color").iterdir():
        Image.open(path).resize((40, 30)).save(path)
    with pytest.raises(BadData, match=r"20.jpg: 40 x 30 pixels do not fit a principal point at x = 30.0"):
        opened(root).load("scene0000_01")


@pytest.mark.parametrize("name", ["first", "000020"])
def test_pictures_without_a_plain_number_are_refused(root: Path, name: str) -> None:
    (root / "scene0000_01" / "color" / f"{name}.jpg").touch()
    with pytest.raises(UserError, match=rf"{name}\.jpg: pictures are called by their number"):
        opened(root).check_whole()


def test_scenes_without_frames_are_left_out(root: Path) -> None:
    (root / "scene0002_00" / "color").mkdir(parents=True)
    assert "scene0002_00" not in opened(root).frames
    with pytest.raises(UserError, match="no sequence in"):
        opened(root / "tasks").sequences()
    with pytest.raises(UserError, match="no such folder"):
        opened(root / "none").sequences()
