"""RealEstate10K: what a miniature was written from is read back, in all forms, and real clips fit their poses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature_views import Views, render_views
from miniatures_re10k import START, write_official, write_prepared
from PIL import Image
from real_scenes import RE10K_CLIPS, sample
from scene_windows import line_distances

from fgq_bench.cards import DatasetCard, ProtocolEntry, load_card
from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.re10k import RealEstate10K
from fgq_bench.loaders.setting import Setting

CLIPS = ["00a1", "b2"]
FRAMES = 5
ALL = ProtocolEntry(frames="all", width=56)
FORMS = {
    "official": {},
    "official, png": {"suffix": ".png"},
    "official, <clip>/": {"pictures": "{}"},
    "cameras/ and frames/": {"cameras": "cameras", "pictures": "frames/{}"},
    "prepared": None,
}


def opened(root: Path, entry: ProtocolEntry = ALL) -> RealEstate10K:
    setting = Setting("few", (), entry.width, {}, entry)
    return RealEstate10K(load_card(DatasetCard, "re10k"), RealEstate10K.Options(), setting, root, None)


@pytest.fixture(scope="module")
def views() -> dict[str, Views]:
    return {clip: render_views(number, FRAMES) for number, clip in enumerate(CLIPS)}


def write(root: Path, views: dict[str, Views], form: str) -> Path:
    for clip, shown in views.items():
        options: Any = FORMS[form]
        write_prepared(root, clip, shown) if options is None else write_official(root, clip, shown, **options)
    return root


@pytest.mark.parametrize("form", FORMS)
def test_cameras_are_read_back(tmp_path: Path, views: dict[str, Views], form: str) -> None:
    data = opened(write(tmp_path, views, form))
    assert data.frames == {clip: ["0000", "0001", "0002", "0003", "0004"] for clip in CLIPS}
    for clip, shown in views.items():
        assert data.category(clip) == "re10k"
        for row, name in enumerate(data.frames[clip]):
            frame = data.read_frame(clip, name)
            assert frame.extrinsics is not None and frame.intrinsics is not None
            np.testing.assert_allclose(frame.extrinsics, shown.w2c[row], atol=1e-8)
            np.testing.assert_allclose(frame.intrinsics, shown.intrinsics, atol=1e-6)
            assert frame.aspect is None
            assert np.abs(np.asarray(Image.open(frame.image)).astype(int) - shown.images[row]).mean() < 8


def test_squashed_pictures_get_their_shape_back(tmp_path: Path, views: dict[str, Views]) -> None:
    write_official(tmp_path, "thin", views["b2"], squash=2)
    write_official(tmp_path, "wide", views["b2"])
    data = opened(tmp_path)
    frame = data.read_frame("thin", "0001")
    assert frame.intrinsics is not None
    np.testing.assert_allclose(frame.intrinsics, np.diag([0.5, 1, 1]) @ views["b2"].intrinsics, atol=1e-6)
    assert frame.aspect == pytest.approx(64 / 48)
    thin, wide = data.load("thin"), data.load("wide")
    assert thin.images.shape == wide.images.shape == (FRAMES, 3, 42, 56)
    assert thin.intrinsics is not None and wide.intrinsics is not None
    np.testing.assert_allclose(thin.intrinsics, wide.intrinsics, atol=1e-4)
    assert (thin.images - wide.images).abs().mean() < 0.05


def test_frames_do_not_depend_on_missing_pictures(tmp_path: Path, views: dict[str, Views]) -> None:
    root = write(tmp_path, views, "official")
    whole = opened(root).frame_list_hash
    (root / "test" / "00a1" / f"{START}.jpg").unlink()
    data = opened(root)
    assert data.frame_list_hash == whole
    with pytest.raises(BadData, match=rf"re10k, sequence 00a1: .*{START}.jpg: no such file"):
        data.load("00a1")
    data.load("b2")
    assert data.incomplete() == ["2 clips, the public test list has 1719", "clip 00a1: 4 of 5 pictures"]


def test_a_prepared_copy_says_what_it_lacks(tmp_path: Path, views: dict[str, Views]) -> None:
    root = write(tmp_path, views, "prepared")
    (root / "b2" / "images" / "0004.png").unlink()
    assert opened(root).incomplete()[1:] == ["clip b2: 4 of 5 pictures"]
    shutil.rmtree(root / "b2" / "images")
    assert opened(root).incomplete()[1:] == ["clip b2: 0 of 5 pictures"]


@pytest.mark.parametrize("focal", ["0", "-0.5", "nan"])
def test_focal_lengths_are_positive(tmp_path: Path, views: dict[str, Views], focal: str) -> None:
    path = write(tmp_path, views, "official") / "test" / "00a1.txt"
    rows = [row.split() for row in path.read_text().splitlines()]
    rows[1][1] = focal
    path.write_text("\n".join(map(" ".join, rows)))
    with pytest.raises(BadData, match=r"00a1: .*00a1\.txt: frame 0000: a focal length is not a positive number"):
        opened(tmp_path).load("00a1")


def test_clips_without_a_folder_are_left_out(tmp_path: Path, views: dict[str, Views]) -> None:
    root = write(tmp_path, views, "official")
    shutil.rmtree(root / "test" / "00a1")
    data = opened(root)
    assert data.sequences() == ["b2"]
    with pytest.raises(BadData, match="sequence 00a1: no camera file or no folder"):
        data.read("00a1", ["0000"])


def test_clips_without_rows_are_left_out(tmp_path: Path, views: dict[str, Views]) -> None:
    root = write(tmp_path, views, "official")
    (root / "test" / "00a1.txt").write_text("https://www.youtube.com/watch?v=none\n\n")
    assert opened(root).sequences() == ["b2"]
    with pytest.raises(BadData, match=r"00a1\.txt: no frame 0003"):
        opened(root).read("00a1", ["0003"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.000000000", "nan", None),
        ("0.000000000 ", "", "5 x 19 numbers are expected"),
        (f"{START} ", f"{START} ../ ", "5 x 19 numbers are expected"),
        (str(START), "../../secret", "5 x 19 numbers are expected"),
    ],
)
def test_damaged_camera_files_name_sequence_and_file(
    tmp_path: Path, views: dict[str, Views], old: str, new: str, message: str | None
) -> None:
    path = write(tmp_path, views, "official") / "test" / "00a1.txt"
    path.write_text(path.read_text().replace(old, new))
    if message is None:
        opened(tmp_path).load("00a1")  # columns 6 and 7 mean nothing
    else:
        with pytest.raises(BadData, match=rf"re10k, sequence 00a1: .*00a1.txt: {message}"):
            opened(tmp_path).load("00a1")


def test_nan_poses_name_sequence_and_frame(tmp_path: Path, views: dict[str, Views]) -> None:
    path = write(tmp_path, views, "official") / "test" / "00a1.txt"
    rows = path.read_text().splitlines()
    rows[3] = rows[3].rpartition(" ")[0] + " nan"
    path.write_text("\n".join(rows))
    with pytest.raises(BadData, match="re10k, sequence 00a1: frame 0002: pose is not finite"):
        opened(tmp_path).load("00a1")


def test_truncated_pictures_name_sequence_and_file(tmp_path: Path, views: dict[str, Views]) -> None:
    path = write(tmp_path, views, "official") / "test" / "00a1" / f"{START}.jpg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(BadData, match=rf"re10k, sequence 00a1: .*{START}.jpg: not a readable picture"):
        opened(tmp_path).load("00a1")


def test_a_cut_picture_does_not_fit_its_pixels(tmp_path: Path, views: dict[str, Views]) -> None:
    path = write(tmp_path, views, "prepared") / "00a1" / "images" / "0000.png"
    Image.open(path).resize((32, 24)).save(path)
    with pytest.raises(BadData, match=r"0000.png: 32 x 24 pixels do not fit a principal point at x = 30.0"):
        opened(tmp_path).load("00a1")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("filepath", "../../secret.png", "'../../secret.png' leads out of the data set's folder"),
        ("filepath", None, "key 'filepath': texts are expected"),
        ("extrinsics", [[1, 0, 0, 0]], "key 'extrinsics': 4 x 4 numbers are expected for every frame"),
        ("intrinsics", "wide", "key 'intrinsics': 3 x 3 numbers are expected for every frame"),
        ("intrinsics", [], "key 'intrinsics': 3 x 3 numbers are expected for every frame"),
        ("intrinsics", [[10**400] * 3] * 3, "key 'intrinsics': 3 x 3 numbers are expected for every frame"),
        ("extrinsics", [[10**400] * 4] * 4, "key 'extrinsics': 4 x 4 numbers are expected for every frame"),
        (
            "intrinsics",
            [[1e400] * 3] * 3,
            "a focal length is not a positive number|intrinsics is not finite|do not fit",
        ),
        ("filepath", 7, "key 'filepath': texts are expected"),
        ("filepath", "\ud800.png", r"cannot be the name of a file"),
        ("filepath", "a\0.png", r"cannot be the name of a file"),
        ("filepath", "a" * 300 + ".png", r"File name too long"),
    ],
)
def test_malformed_preparations_name_sequence_and_key(
    tmp_path: Path, views: dict[str, Views], key: str, value: Any, message: str
) -> None:
    path = write(tmp_path, views, "prepared") / "00a1" / "annotations.json"
    content = json.loads(path.read_text())
    if value is None:
        del content[0][key]
    else:
        content[0][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BadData, match=rf"re10k, sequence 00a1: .*{message}"):
        opened(tmp_path).load("00a1")


def test_a_clip_whose_frames_are_all_empty_names_sequence_and_key(tmp_path: Path, views: dict[str, Views]) -> None:
    path = write(tmp_path, views, "prepared") / "00a1" / "annotations.json"
    path.write_text(json.dumps([{**frame, "intrinsics": []} for frame in json.loads(path.read_text())]))
    data = opened(tmp_path)
    with pytest.raises(BadData, match=r"re10k, sequence 00a1: .*annotations\.json: key 'intrinsics': 3 x 3 numbers"):
        data.load("00a1")
    assert data.load("b2").images.shape[0] == FRAMES


@pytest.mark.parametrize("focal", ["0.006", "1e-12", "1e-320", "60", "1e300"])
def test_a_shape_that_fills_the_memory_is_refused(tmp_path: Path, views: dict[str, Views], focal: str) -> None:
    path = write(tmp_path, views, "official") / "test" / "00a1.txt"
    rows = [row.split() for row in path.read_text().splitlines()]
    for row in rows[1:]:
        row[2] = focal
    path.write_text("\n".join(map(" ".join, rows)))
    with pytest.raises(
        BadData, match=r"00a1: .*\.jpg: 64 x 48 pixels that show .* : 1 are no photograph: more than 20"
    ):
        opened(tmp_path).load("00a1")


@pytest.mark.parametrize("name", ["0", "٠٠٠٠", "0000 ", "-001", "9" * 5000])
def test_frames_are_called_by_their_row_in_four_plain_digits(
    tmp_path: Path, views: dict[str, Views], name: str
) -> None:
    with pytest.raises(BadData, match=r"00a1\.txt: no frame"):
        opened(write(tmp_path, views, "official")).read("00a1", [name])


@pytest.mark.parametrize("content", ["", "{}", "[", "3"])
def test_unreadable_preparations_name_the_file(tmp_path: Path, views: dict[str, Views], content: str) -> None:
    path = write(tmp_path, views, "prepared") / "00a1" / "annotations.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"00a1/annotations\.json: "):
        opened(tmp_path).check_whole()


@pytest.mark.parametrize("protocol", ["fgq", "qvggt"])
def test_protocols_need_ten_frames(tmp_path: Path, views: dict[str, Views], protocol: str) -> None:
    write(tmp_path, views, "official")
    write_official(tmp_path, "long", render_views(5, 12))
    data = open_dataset(load_card(DatasetCard, "re10k"), tmp_path, None, protocol)
    assert {clip: len(names) for clip, names in data.frames.items()} == {"long": 10}


@pytest.mark.parametrize("clip", RE10K_CLIPS)
def test_real_clips_fit_their_poses(clip: str) -> None:
    """Frames were stored as 384 x 256 though they are 16:9."""
    pytest.importorskip("cv2")
    data = opened(sample("re10k"), ProtocolEntry(frames="all", width=512))
    assert data.read_frame(clip, "0000").aspect == pytest.approx(16 / 9, rel=1e-3)
    scene = data.read(clip, data.frames[clip][::3])  # apart: misread poses show the more, the farther cameras move
    assert scene.images.shape == (6, 3, 294, 504)
    assert scene.intrinsics is not None
    ratio = scene.intrinsics[:, 0, 0] / scene.intrinsics[:, 1, 1]
    np.testing.assert_allclose(ratio, (504 / 294) / (16 / 9), rtol=1e-3)
    right, wrong = line_distances(scene)
    assert right <= 0.6
    assert wrong >= 2.5
