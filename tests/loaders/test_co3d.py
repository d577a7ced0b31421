"""CO3Dv2: what a miniature was written from is read back, in both forms of annotation, and a real apple fits its poses."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature_views import Views, render_views
from miniatures_co3d import SCALE, Miniature, read_jgz, write_jgz
from opening import disagreement
from PIL import Image
from real_scenes import sample
from scene_windows import line_distances

from fgq_bench.cards import DatasetCard, ProtocolEntry, load_card
from fgq_bench.errors import BadData, UserError
from fgq_bench.geometry_checks.pairs import misread
from fgq_bench.loaders import co3d_annotations, reading
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.co3d import SEEN, UNSEEN, Co3d
from fgq_bench.loaders.setting import Setting

FORMS = ["official", "preprocessed", "preprocessed, annotations/"]
FRAMES = 5
APPLE = "189_20393_38136"
FEW = ProtocolEntry(frames="all", minimum=3, resize="squash", width=56, height=42)


def opened(root: Path, entry: ProtocolEntry = FEW, **options: Any) -> Co3d:
    card = load_card(DatasetCard, "co3dv2")
    setting = Setting("few", (), entry.width, options, entry)
    return Co3d(card, Co3d.Options(**options), setting, root, None)


def write(miniature: Miniature, form: str) -> Path:
    if form == "official":
        return miniature.write_official()
    return miniature.write_preprocessed("annotations" if form.endswith("/") else ".")


@pytest.fixture(scope="module")
def views() -> list[Views]:
    return [render_views(number, FRAMES) for number in range(2)]


@pytest.fixture
def miniature(tmp_path: Path, views: list[Views]) -> Miniature:
    made = Miniature(tmp_path)
    made.add("car", "30_2_3", views[0])
    made.add("car", "110_13_23", views[1])
    made.add("apple", "12_1_1", views[1])
    made.add("apple", "12_1_2", views[0], split="train")
    made.add("ball", "7_7_7", views[0])
    made.add("apple", "99_9_9", views[0], quality=0.5)
    made.add("apple", "99_9_8", views[0], quality=None)
    return made


@pytest.fixture
def changed(miniature: Miniature) -> Any:
    """Rewrites a file of annotations with what ``change`` makes of it."""

    def rewrite(path: str, change: Any) -> Path:
        content = read_jgz(miniature.root / path)
        change(content)
        write_jgz(miniature.root / path, content)
        return miniature.root

    return rewrite


def test_there_are_51_categories() -> None:
    assert len(set(SEEN)) == 41
    assert len(set(SEEN + UNSEEN)) == 51


@pytest.mark.parametrize("form", FORMS)
def test_sequences_and_frames_are_those_of_the_set_list(miniature: Miniature, form: str) -> None:
    data = opened(write(miniature, form))
    assert data.sequences() == ["apple/12_1_1", "ball/7_7_7", "car/110_13_23", "car/30_2_3"]
    assert data.frames["car/30_2_3"] == [f"frame{n:06d}.jpg" for n in (1, 4, 7, 10, 13)]
    assert data.category("car/30_2_3") == "car"


def test_both_forms_give_the_same_frames(miniature: Miniature) -> None:
    official = opened(miniature.write_official()).frame_list_hash
    for folder in ("annotations", "."):
        miniature.write_preprocessed(folder)
        for category in miniature.frames:
            (miniature.root / category / "frame_annotations.jgz").unlink(missing_ok=True)
        assert opened(miniature.root).frame_list_hash == official


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("options", "sequences"),
    [
        ({"split": "train"}, ["apple/12_1_2"]),
        ({"categories": "seen"}, ["apple/12_1_1", "car/110_13_23", "car/30_2_3"]),
        ({"per_category": 1}, ["apple/12_1_1", "ball/7_7_7", "car/110_13_23"]),
    ],
    ids=str,
)
def test_options_choose_sequences(miniature: Miniature, form: str, options: Any, sequences: list[str]) -> None:
    assert opened(write(miniature, form), **options).sequences() == sequences


def test_the_first_of_a_category_are_long_enough(miniature: Miniature) -> None:
    miniature.lists["car"]["test"] = miniature.lists["car"]["test"][:-3]  # 110_13_23 comes second in the list
    root = miniature.write_official()
    assert opened(root, per_category=1, categories="seen").sequences() == ["apple/12_1_1", "car/30_2_3"]


@pytest.mark.parametrize("protocol", ["fgq", "quantvggt", "qvggt"])
@pytest.mark.parametrize("name", ["co3dv2", "co3dv2-train"])
def test_cards_and_protocols_have_options_that_fit(tmp_path: Path, name: str, protocol: str) -> None:
    data = open_dataset(load_card(DatasetCard, name), tmp_path, None, protocol)
    assert isinstance(data, Co3d)
    assert data.options.split == ("test" if name == "co3dv2" else "train")
    with pytest.raises(UserError, match="no sequence in"):
        data.frame_list()


@pytest.mark.parametrize("form", FORMS)
def test_cameras_are_read_back(miniature: Miniature, views: list[Views], form: str) -> None:
    data = opened(write(miniature, form))
    for row, name in enumerate(data.frames["car/110_13_23"]):
        frame = data.read_frame("car/110_13_23", name)
        assert frame.extrinsics is not None and frame.intrinsics is not None
        np.testing.assert_allclose(frame.extrinsics, views[1].w2c[row], atol=1e-12)
        np.testing.assert_allclose(frame.intrinsics, views[1].intrinsics, atol=1e-9)
        assert frame.depth is None


def test_depth_is_read_back_where_it_is_measured(miniature: Miniature, views: list[Views]) -> None:
    data = opened(miniature.write_official(), depth=True)
    for row, name in enumerate(data.frames["car/110_13_23"]):
        depth = data.read_frame("car/110_13_23", name).depth
        assert depth is not None
        np.testing.assert_allclose(depth[:, 5:], views[1].depth[row][:, 5:], rtol=2**-11)
        assert not depth[:, :5].any()


def test_pictures_poses_and_depth_agree(miniature: Miniature, views: list[Views]) -> None:
    scene = opened(miniature.write_official(), depth=True).load("car/30_2_3")
    assert scene.images.shape == (FRAMES, 3, 42, 56)
    assert scene.category == "car"
    right, wrong = disagreement(scene), disagreement(misread(scene))
    assert right < 0.01
    assert wrong > 8 * right
    shown = views[0].images[2, 24, 32] / 255
    assert np.abs(scene.images[2, :, 21, 28].numpy() - shown).max() < 0.5  # a picture of the same place, resized


def test_depth_needs_a_scale_and_a_file(miniature: Miniature) -> None:
    miniature.write_official()
    name = "frame000004.jpg"
    (miniature.root / "car/30_2_3/depth_masks/frame000004.png").unlink()
    unmasked = opened(miniature.root, depth=True).read_frame("car/30_2_3", name).depth
    assert unmasked is not None and unmasked[:, :5].all()
    (miniature.root / f"car/30_2_3/depths/{name}.geometric.png").unlink()
    assert opened(miniature.root, depth=True).read_frame("car/30_2_3", name).depth is None
    miniature.write_preprocessed()
    assert opened(miniature.root, depth=True).read_frame("car/30_2_3", "frame000001.jpg").depth is None


def test_depth_of_infinities_and_nan_is_not_valid(miniature: Miniature) -> None:
    root = miniature.write_official()
    bits = np.full((48, 64), np.float16(2 / SCALE).view(np.uint16))
    bits[0, 10:13] = 0x7C00, 0xFC00, 0x7D01  # inf, -inf, a signalling NaN
    Image.fromarray(bits).save(root / "car/30_2_3/depths/frame000001.jpg.geometric.png")
    entry = FEW.model_copy(update={"truth": "native"})
    scene = opened(root, entry, depth=True).read("car/30_2_3", ["frame000001.jpg"])
    assert scene.mask is not None
    assert not scene.mask[0, 0, 10:13].any()
    assert scene.mask[0, 1:, 5:].all()


@pytest.mark.parametrize("form", FORMS)
def test_smaller_copies_of_the_pictures_have_smaller_intrinsics(
    miniature: Miniature, views: list[Views], form: str
) -> None:
    path = miniature.root / "car/30_2_3/images/frame000001.jpg"
    Image.open(path).resize((32, 24)).save(path)
    intrinsics = opened(write(miniature, form)).read_frame("car/30_2_3", path.name).intrinsics
    assert intrinsics is not None
    np.testing.assert_allclose(intrinsics, np.diag([0.5, 0.5, 1]) @ views[0].intrinsics)


def test_a_picture_of_another_shape_than_annotated_is_refused(miniature: Miniature) -> None:
    path = miniature.root / "car/30_2_3/images/frame000001.jpg"
    Image.open(path).crop((0, 0, 48, 48)).save(path)
    with pytest.raises(BadData, match=r"car/30_2_3: .*frame000001.jpg: 48 x 48 pixels have another shape"):
        opened(miniature.write_official()).load("car/30_2_3")


@pytest.mark.parametrize(("translation", "kept"), [([1e6, -1e6, 9e4], True), ([9e4, 1e4, 1e3], False)])
def test_sequences_with_ridiculous_cameras_are_left_out(
    miniature: Miniature, translation: list[float], kept: bool
) -> None:
    for record in miniature.frames["car"]:
        if record["sequence_name"] == "30_2_3" and record["frame_number"] == 3:
            record["viewpoint"]["T"] = translation
    assert ("car/30_2_3" in opened(miniature.write_official()).sequences()) == kept
    assert ("car/30_2_3" in opened(miniature.write_preprocessed()).sequences()) == kept


def test_nan_poses_name_sequence_and_frame(miniature: Miniature) -> None:
    miniature.frames["apple"][1]["viewpoint"]["T"][0] = float("nan")
    for root in (miniature.write_official(), miniature.write_preprocessed()):
        with pytest.raises(BadData, match=r"co3dv2, sequence apple/12_1_1: frame frame000004.jpg: pose is not finite"):
            opened(root).load("apple/12_1_1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "not a readable picture"),
        (lambda path: path.write_bytes(b""), "not a readable picture"),
    ],
    ids=["missing", "truncated", "empty"],
)
def test_damaged_pictures_name_sequence_and_file(miniature: Miniature, damage: Any, message: str) -> None:
    root = miniature.write_official()
    damage(root / "car/30_2_3/images/frame000007.jpg")
    with pytest.raises(BadData, match=rf"car/30_2_3: .*frame000007.jpg: {message}"):
        opened(root).load("car/30_2_3")


def test_damaged_depth_names_sequence_and_file(miniature: Miniature) -> None:
    root = miniature.write_official()
    (root / "car/30_2_3/depths/frame000007.jpg.geometric.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"car/30_2_3: .*frame000007.jpg.geometric.png: not a readable picture"):
        opened(root, depth=True).load("car/30_2_3")
    opened(root).load("car/30_2_3")


@pytest.mark.parametrize("path", ["../../../secret.jpg", "/etc/secret.jpg"])
def test_annotations_cannot_lead_out_of_the_folder(miniature: Miniature, changed: Any, path: str) -> None:
    miniature.write_preprocessed()
    root = changed("car_test.jgz", lambda content: content["30_2_3"][0].update(filepath=path))
    with pytest.raises(BadData, match=r"co3dv2, sequence car/30_2_3: .*secret.jpg' leads out"):
        opened(root).load("car/30_2_3")


def test_sequences_that_are_not_annotated_are_named(miniature: Miniature) -> None:
    data = opened(miniature.write_official())
    with pytest.raises(UserError, match="no sequence 'car/none'"):
        data.load("car/none")
    with pytest.raises(BadData, match=r"car/30_2_3: frame none\.jpg: not in the annotations of category car"):
        data.read("car/30_2_3", ["none.jpg"])
    with pytest.raises(BadData, match=r"\.\./car/30_2_3: frame x\.jpg: not in the annotations of category \.\."):
        data.read("../car/30_2_3", ["x.jpg"])


def remove(*keys: Any) -> Any:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def put(value: Any, *keys: Any) -> Any:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("car/frame_annotations.jgz", remove(0, "viewpoint"), "key 'viewpoint': Field required"),
        (
            "car/frame_annotations.jgz",
            put("ndc", 0, "viewpoint", "intrinsics_format"),
            "'viewpoint.intrinsics_format': Input should be 'ndc_isotropic'",
        ),
        ("car/frame_annotations.jgz", remove(0, "viewpoint", "R", 1), "key 'viewpoint.R': 9 numbers"),
        ("car/frame_annotations.jgz", put(None, 0, "viewpoint", "T"), "key 'viewpoint.T': 3 numbers are expected"),
        ("car/frame_annotations.jgz", put("far", 0, "viewpoint", "focal_length"), "'viewpoint.focal_length': 2 num"),
        ("car/frame_annotations.jgz", put([1], 0, "image", "size"), "key 'image.size': 2 numbers"),
        ("car/frame_annotations.jgz", put({}, 0, "depth"), "key 'depth.scale_adjustment': Field required"),
        ("car/frame_annotations.jgz", put(77, 0, "frame_number"), "no frame 0 of 30_2_3, which the set list has"),
        ("car/frame_annotations.jgz", put(3, 0), "frame_annotations.jgz: Input should be a valid dict"),
        (
            "car/frame_annotations.jgz",
            put(10**400, 0, "viewpoint", "T", 0),
            "key 'viewpoint.T': 3 numbers are expected",
        ),
        ("car/frame_annotations.jgz", put(0.5, 0, "frame_number"), "key 'frame_number': a whole number"),
        ("car/frame_annotations.jgz", put("a\0b", 0, "sequence_name"), "key 'sequence_name': .* cannot be printed"),
        ("car/sequence_annotations.jgz", put("good", 0, "viewpoint_quality_score"), "'viewpoint_quality_score': 1 n"),
    ],
)
def test_malformed_official_annotations_name_file_and_key(
    miniature: Miniature, changed: Any, path: str, change: Any, message: str
) -> None:
    miniature.write_official()
    with pytest.raises(UserError, match=message) as caught:
        opened(changed(path, change)).check_whole()
    assert str(miniature.root / path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("30_2_3", 0, "filepath"), r"key '30_2_3\.0\.filepath': Field required"),
        (put("a\0.jpg", "30_2_3", 0, "filepath"), r"key '30_2_3\.0\.filepath': .* cannot be printed"),
        (put(1, "30_2_3", 0), r"key '30_2_3\.0': Input should be a valid dict"),
        (remove("30_2_3", 2, "R"), r"key '30_2_3\.2\.R': Field required"),
        (put({}, "30_2_3"), "key '30_2_3': Input should be a valid list"),
        (put([[10**400] * 3] * 3, "30_2_3", 0, "R"), r"key '30_2_3\.0\.R': 9 numbers"),
        (put("a\ud800", "30_2_3", 0, "filepath"), r"key '30_2_3\.0\.filepath': .* cannot be printed"),
    ],
)
def test_malformed_preprocessed_annotations_name_file_and_key(
    miniature: Miniature, changed: Any, change: Any, message: str
) -> None:
    miniature.write_preprocessed()
    with pytest.raises(UserError, match=rf"car_test.jgz: {message}"):
        opened(changed("car_test.jgz", change)).check_whole()


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", b"\x1f\x8b\x08\x00truncated"], ids=["empty", "not gzip", "truncated"]
)
@pytest.mark.parametrize("path", ["car_test.jgz", "car/frame_annotations.jgz", "car/sequence_annotations.jgz"])
def test_unreadable_annotations_name_the_file(miniature: Miniature, path: str, content: bytes) -> None:
    miniature.write_official()
    (miniature.root / path).write_bytes(content)
    with pytest.raises(UserError, match=path):
        opened(miniature.root).check_whole()


@pytest.mark.parametrize("path", ["car_test.jgz", "car/frame_annotations.jgz", "car/sequence_annotations.jgz"])
def test_annotations_that_unpack_to_too_much_are_refused(
    miniature: Miniature, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    miniature.write_official()
    (miniature.root / path).write_bytes(gzip.compress(b"[" + b" " * 10**6 + b"]"))
    monkeypatch.setattr(reading, "JSON", 10**5)
    monkeypatch.setattr(co3d_annotations, "RECORDS", 10**5)
    with pytest.raises(UserError, match=rf"{path}: not .* \(more than 100000 bytes, which is all that is read\)"):
        opened(miniature.root).check_whole()


def test_a_pinned_sequence_of_a_broken_category_is_bad_data(miniature: Miniature) -> None:
    data = opened(miniature.write_official())
    names = data.indexed["car/30_2_3"]
    (miniature.root / "car/frame_annotations.jgz").write_bytes(b"")
    with pytest.raises(BadData, match=r"^co3dv2, sequence car/30_2_3: .*frame_annotations\.jgz: not a gzipped JSON"):
        opened(miniature.root).read("car/30_2_3", names)


@pytest.mark.parametrize("text", ['[{"sequence_name": "a"}', "[1, ", "{}", ""], ids=str)
def test_arrays_that_end_early_name_the_file(miniature: Miniature, text: str) -> None:
    miniature.write_official()
    (miniature.root / "car/sequence_annotations.jgz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(UserError, match=r"sequence_annotations\.jgz"):
        opened(miniature.root).check_whole()


INFINITE, HALF = {"test": [["a", float("inf"), "b"]]}, {"test": [["a", 1, "b\ud800"]]}


@pytest.mark.parametrize("content", [{"train": []}, {"test": 3}, {"test": [["a", 1]]}, [], INFINITE, HALF], ids=ascii)
def test_malformed_set_lists_name_file_and_key(miniature: Miniature, content: Any) -> None:
    root = miniature.write_official()
    (root / "car/set_lists/set_lists_fewview_dev.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"set_lists_fewview_dev\.json: key 'test'"):
        opened(root).check_whole()


def test_a_broken_category_is_no_other_categorys_fault(miniature: Miniature) -> None:
    root = miniature.write_preprocessed()
    whole = opened(root).indexed
    assert {name.partition("/")[0] for name in whole} == {"apple", "ball", "car"}
    (root / "car_test.jgz").write_bytes(b"")
    data = opened(root)
    assert data.indexed == {name: names for name, names in whole.items() if not name.startswith("car/")}
    assert list(data.broken) == ["car"]
    assert data.broken["car"].startswith("co3dv2, car: ")
    with pytest.raises(BadData, match=r"co3dv2, sequence car/30_2_3: .*car_test\.jgz: not readable as JSON"):
        data.read("car/30_2_3", whole["car/30_2_3"][:1])


def test_a_copy_says_what_it_lacks(miniature: Miniature) -> None:
    data = opened(miniature.write_official())
    shutil.rmtree(data.root / "car/30_2_3")
    lines = data.incomplete()
    assert "category backpack: no annotations" in lines
    assert "category car: 1 sequences have no pictures, the first is car/30_2_3" in lines
    assert len(lines) == 49


@pytest.fixture
def apple(tmp_path: Path) -> Path:
    """20 real frames with their real cameras, as VGGT's preprocessing has them."""
    folder = sample("co3d/apple")
    cameras = np.load(folder / "gt_cameras.npz")
    pictures = sorted(folder.glob("*.jpg"))
    place = f"apple/{APPLE}/images"
    (tmp_path / place).mkdir(parents=True)
    frames = []
    for row, picture in enumerate(pictures):
        shutil.copy(picture, tmp_path / place)
        frames.append(
            {
                "filepath": f"{place}/{picture.name}",
                "R": cameras["gtR"][row].tolist(),
                "T": cameras["gtT"][row].tolist(),
                "focal_length": cameras["gtFL"][row].tolist(),
                "principal_point": [0.0, 0.0],
            }
        )
    write_jgz(tmp_path / "apple_test.jgz", {APPLE: frames})
    return tmp_path


def test_the_real_apple_fits_its_poses(apple: Path) -> None:
    pytest.importorskip("cv2")
    data = opened(apple, ProtocolEntry(frames="all", width=518))
    sequence = f"apple/{APPLE}"
    scene = data.read(sequence, data.frames[sequence][:8])
    assert scene.images.shape == (8, 3, 518, 518)
    right, wrong = line_distances(scene)
    assert right < 1
    assert wrong > 10
