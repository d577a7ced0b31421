"""What lies beside the data: hidden and system files are no frames of any data set, and what is left out is counted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from known_scene import Known, known_scene
from miniature_views import render_views
from miniatures_indoor import write_dtu, write_eth3d_arrays, write_kitti, write_nrgbd, write_seven_scenes
from miniatures_re10k import write_official
from miniatures_scannet import write_scene
from opening import opened
from PIL import Image

from fgq_bench.errors import UserError
from fgq_bench.loaders.completeness import missing_frames, usual_step
from fgq_bench.loaders.file_dataset import FileDataset
from fgq_bench.loaders.kitti import DRIVES
from fgq_bench.loaders.listing import find_file
from fgq_bench.loaders.reading import read_numbers

NUMBERS = range(3)


@pytest.fixture(scope="module")
def known() -> Known:
    return known_scene(64, 48, 60)


WRITERS: dict[str, tuple[str, Callable[[Path, Known], object]]] = {
    "7scenes": ("quantvggt", lambda root, known: _seven_scenes(root, known)),
    "nrgbd": ("quantvggt", lambda root, known: write_nrgbd(root / "kitchen", known, known.c2w, NUMBERS, 3)),
    "dtu": ("fgq", lambda root, known: write_dtu(root / "scan1", known, 1, known.depth[0] > 0)),
    "eth3d": ("fgq", lambda root, known: write_eth3d_arrays(root / "office", known, NUMBERS)),
    "kitti-video": ("fgq", lambda root, known: write_kitti(root, DRIVES[0], known, NUMBERS)),
    "scannet": ("qvggt", lambda root, known: write_scene(root, "scene0000_00", render_views(2, 3), step=20)),
    "re10k": ("fgq", lambda root, known: write_official(root, "00a1", render_views(2, 3))),
    "folder": ("pictures", lambda root, known: _pictures(root / "garden")),
}


def _seven_scenes(root: Path, known: Known) -> None:
    write_seven_scenes(root / "chess/seq-03", known, known.c2w, NUMBERS)
    (root / "chess/TestSplit.txt").write_text("sequence3\n")


def _pictures(place: Path) -> None:
    place.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (56, 42), (90 * number, 10, 10)).save(place / f"{number}.png")


def strew(root: Path) -> None:
    """Put a hidden copy beside every file, and what systems make into every folder."""
    everything = [root, *root.rglob("*")]
    for path in everything:
        if path.is_dir():
            (path / ".DS_Store").write_bytes(b"\0")
            (path / "Thumbs.db").write_bytes(b"\0")
            (path / "__MACOSX").mkdir()
        else:
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\26\7")
    for path in everything:
        if path.is_dir():
            (path / "__MACOSX" / "0000000099.png").write_bytes(b"\0\5\26\7")


@pytest.mark.parametrize("name", WRITERS)
def test_sidecars_are_no_frames(name: str, known: Known, tmp_path: Path) -> None:
    protocol, write = WRITERS[name]
    write(tmp_path, known)
    clean = opened(name, tmp_path, protocol)
    expected, lacking = clean.indexed, clean.incomplete()
    assert sum(map(len, expected.values())) == 3
    assert clean.listing.ignored() == []
    strew(tmp_path)
    data = opened(name, tmp_path, protocol)
    assert data.indexed == expected
    assert data.incomplete() == lacking
    [line] = data.listing.ignored()
    assert " hidden files or folders, or a system's own: " in line
    assert line in data.notes()


@pytest.mark.parametrize("name", ["7scenes", "nrgbd", "dtu", "kitti-video", "scannet", "re10k"])
def test_endings_may_be_written_in_capitals(name: str, known: Known, tmp_path: Path) -> None:
    protocol, write = WRITERS[name]
    write(tmp_path, known)
    expected = opened(name, tmp_path, protocol).indexed
    for path in tmp_path.rglob("*"):
        if path.suffix in (".png", ".jpg"):
            path.rename(path.with_suffix(path.suffix.upper()))
    data = opened(name, tmp_path, protocol)
    assert data.indexed == expected
    found = [find_file(path.with_suffix(".png")) for path in tmp_path.rglob("*.PNG")]
    assert all(path.is_file() for path in found)
    if name in ("dtu", "scannet", "re10k", "kitti-video"):  # the others want pictures of their camera's size
        [(sequence, names)] = expected.items()
        assert data.read_frame(sequence, names[0]).image.is_file()


def test_find_file_prefers_the_usual_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert find_file(path, ".png") == path
    (tmp_path / "a.JPG").touch()
    assert find_file(path, ".png").name == "a.JPG"
    (tmp_path / "a.png").touch()
    assert find_file(path, ".png").name == "a.png"
    path.touch()
    assert find_file(path, ".png") == path
    assert find_file(tmp_path / "none" / "a.jpg") == tmp_path / "none" / "a.jpg"


@pytest.mark.parametrize(
    ("names", "first", "count", "step", "line"),
    [
        (["0", "1", "2"], 0, None, 1, None),
        (["000", "002"], 0, None, 1, "2 of 3 frames, number 1 is the first that is not here"),
        (["1", "2"], 0, None, 1, "2 of 3 frames, number 0 is the first that is not here"),
        (["0", "1"], 0, 4, 1, "2 of 4 frames, number 2 is the first that is not here"),
        (["0", "20", "60"], 0, None, 20, "3 of 4 frames, number 40 is the first that is not here"),
        (["5", "6", "cover"], 5, None, 1, None),
        ([], 0, None, 1, None),
        ([], 0, 2, 1, "0 of 2 frames, number 0 is the first that is not here"),
    ],
)
def test_missing_frames(names: list[str], first: int, count: int | None, step: int, line: str | None) -> None:
    assert missing_frames(names, first, count, step) == line


def test_usual_step() -> None:
    assert usual_step([0, 20, 40, 80]) == 20
    assert usual_step([7]) == 1


# The folder of anybody's pictures ------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Pictures in every place in which some are found."""
    root = tmp_path / "album"
    for place in (".", "garden", "kitchen/images", "attic/Images"):
        _pictures_into(root / place)
    return root


def _pictures_into(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name in ("0.png", "1.JPG"):
        Image.new("RGB", (56, 42), "red").save(place / name)


def folder(root: Path) -> FileDataset:
    return opened("folder", root)


def test_nested_scenes_and_capital_endings_are_read(album: Path) -> None:
    data = folder(album)
    assert data.indexed == {name: ["0.png", "1.JPG"] for name in (".", "attic/Images", "garden", "kitchen/images")}
    assert data.load("kitchen/images").images.shape[0] == 2
    assert data.load("kitchen/images").category == "folder"
    assert data.notes() == []


def test_what_a_folder_does_not_read_is_named_and_counted(album: Path) -> None:
    (album / "garden" / "2.png").symlink_to(album / "nowhere.png")
    (album / "shed").symlink_to(album / "nowhere")
    for name in ("3.HEIC", "4.heic", "5.tiff"):
        (album / "garden" / name).touch()
    (album / "garden" / "readme.txt").touch()
    _pictures_into(album / "kitchen" / "images_2")
    data = folder(album)
    assert data.indexed["garden"] == ["0.png", "1.JPG"]
    assert sorted(data.listing.lost()) == [
        "1 folders with pictures that are neither ROOT/SEQUENCE nor ROOT/SEQUENCE/images (give one as the root): kitchen/images_2",
        "2 links to nothing: garden/2.png, shed",
        "3 pictures of a format that is not read (convert them to JPEG, PNG or WebP): garden/3.HEIC, garden/4.heic, garden/5.tiff",
    ]  # fmt: skip
    assert data.listing.ignored() == ["1 files of other kinds: garden/readme.txt"]
    assert data.notes() == data.listing.lost() + data.listing.ignored()


# What a copy lacks ----------------------------------------------------------------------------------------------------


def test_cut_copies_are_told(known: Known, tmp_path: Path) -> None:
    """Sequences that end early, begin late or have a hole are read as other frames than a complete copy's."""
    _seven_scenes(tmp_path / "7scenes", known)
    lines = opened("7scenes", tmp_path / "7scenes", "quantvggt").incomplete()
    assert "chess/seq-03: 3 of 1000 frames, number 3 is the first that is not here" in lines
    write_scene(tmp_path / "scannet", "scene0000_00", render_views(2, 5), step=20)
    assert opened("scannet", tmp_path / "scannet").incomplete() == []
    (tmp_path / "scannet/scene0000_00/color/40.jpg").unlink()
    found = opened("scannet", tmp_path / "scannet")
    assert found.incomplete() == ["scene scene0000_00: 4 of 5 frames, number 40 is the first that is not here"]
    assert found.notes() == found.incomplete()
    write_kitti(tmp_path / "kitti", DRIVES[0], known, [5, 6, 8])
    lines = opened("kitti-video", tmp_path / "kitti").incomplete()
    assert f"drive {DRIVES[0]}: 3 of 4 frames, number 7 is the first that is not here in groundtruth_depth_gathered" in lines  # fmt: skip


def test_a_copy_of_re10k_without_addresses_keeps_its_first_camera(tmp_path: Path) -> None:
    views = render_views(2, 3)
    write_official(tmp_path, "00a1", views)
    path = tmp_path / "test/00a1.txt"
    whole = opened("re10k", tmp_path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    data = opened("re10k", tmp_path)
    assert data.indexed == whole.indexed == {"00a1": ["0000", "0001", "0002"]}
    extrinsics = data.read_frame("00a1", "0000").extrinsics
    assert extrinsics is not None
    np.testing.assert_allclose(extrinsics, views.w2c[0], atol=1e-8)


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path, known: Known) -> None:
    _seven_scenes(tmp_path, known)
    for path in [*tmp_path.rglob("*.txt")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    data = opened("7scenes", tmp_path, "quantvggt")
    assert list(data.indexed) == ["chess/seq-03"]
    assert read_numbers(tmp_path / "chess/seq-03/frame-000000.pose.txt", 4, 4).shape == (4, 4)


# A folder in which nothing is found ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["7scenes", "nrgbd", "dtu", "eth3d", "kitti-video", "scannet", "re10k"])
def test_one_folder_too_high_or_too_low_is_told(name: str, known: Known, tmp_path: Path) -> None:
    protocol, write = WRITERS[name]
    root = tmp_path / "data" / "released"
    root.mkdir(parents=True)
    write(root, known)
    with pytest.raises(UserError, match=f"expected .*; give {root} instead"):
        opened(name, root.parent, protocol).indexed  # noqa: B018
    below = next(path for path in sorted(root.iterdir()) if path.is_dir())
    with pytest.raises(UserError, match=f"expected .*; give {root} instead"):
        opened(name, below, protocol).indexed  # noqa: B018


def test_what_is_packed_is_told(tmp_path: Path, known: Known) -> None:
    (tmp_path / "chess.zip").touch()
    with pytest.raises(UserError, match=r"expected <scene>/TestSplit\.txt.*; unpack chess\.zip first"):
        opened("7scenes", tmp_path).indexed  # noqa: B018
    (tmp_path / "chess").mkdir()
    (tmp_path / "chess/TestSplit.txt").write_text("sequence3\n")
    (tmp_path / "chess/seq-03.zip").touch()
    with pytest.raises(UserError, match=r"chess/seq-03: no frames \(unpack chess/seq-03\.zip\)"):
        opened("7scenes", tmp_path).indexed  # noqa: B018
    (tmp_path / "fire.zip").touch()
    assert "scene fire: no TestSplit.txt (unpack fire.zip)" in opened("7scenes", tmp_path).incomplete()


def test_exports_of_scannets_other_reader_are_told(tmp_path: Path) -> None:
    scene = tmp_path / "scene0000_00"
    scene.mkdir()
    (scene / "frame-000000.color.jpg").touch()
    for root in (tmp_path, scene):
        with pytest.raises(
            Exception, match=r"frame-000000\.color\.jpg: export every scan with SensReader/python/reader"
        ):
            opened("scannet", root).indexed  # noqa: B018


def test_the_single_sequence_subset_is_named(tmp_path: Path) -> None:
    lists = tmp_path / "apple" / "set_lists"
    lists.mkdir(parents=True)
    for name in ("frame_annotations.jgz", "sequence_annotations.jgz"):
        (tmp_path / "apple" / name).write_bytes(gzip.compress(b"[]"))
    (lists / "set_lists_manyview_dev_0.json").write_text(json.dumps({"train": [], "val": [], "test": []}))
    with pytest.raises(UserError, match=r"many-view lists only, as the single-sequence subset"):
        opened("co3dv2", tmp_path).indexed  # noqa: B018
