"""What every data set in files shares: frames by rule or pinned, checks of what was read, bad data in a sweep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgq_bench import cards
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.calibration.sampling import sample_random
from fgq_bench.cards import DatasetCard, ProtocolEntry, load_card
from fgq_bench.errors import BadData, UserError
from fgq_bench.loaders import file_dataset
from fgq_bench.loaders import frames as frame_lists
from fgq_bench.loaders.base import Dataset, SceneCache, open_dataset
from fgq_bench.loaders.file_dataset import FileDataset, Frame
from fgq_bench.loaders.folder import Folder
from fgq_bench.loaders.frames import FrameList, choose_frames, hash_frames, read_pinned, write_pinned
from fgq_bench.loaders.reading import inside
from fgq_bench.loaders.setting import Setting
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.runner import OnBadData, Sweep, Workspace


def entry(**values: object) -> ProtocolEntry:
    return ProtocolEntry.model_validate({"frames": "all", "width": 84, **values})


def numbered(**counts: int) -> FrameList:
    return {name: [f"{i:03d}" for i in range(count)] for name, count in counts.items()}


# Frame rules --------------------------------------------------------------------------------------------------------


def test_random_frames_are_numpys_and_short_sequences_draw_nothing() -> None:
    rng = np.random.RandomState(42)
    expected = {name: [f"{i:03d}" for i in rng.choice(n, 4, replace=False)] for name, n in (("a", 9), ("c", 30))}
    found = choose_frames(entry(frames="random", count=4, seed=42), numbered(c=30, b=3, a=9))
    assert found == expected
    assert list(found) == ["a", "c"]
    longer = choose_frames(entry(frames="random", count=4, seed=42, minimum=10), numbered(c=30, a=9))
    assert list(longer) == ["c"]


def test_strides_first_and_each() -> None:
    index = numbered(a=7)
    assert choose_frames(entry(frames="stride", stride=3), index) == {"a": ["000", "003", "006"]}
    assert choose_frames(entry(frames="stride", stride=100, at_most_half=True), index) == {"a": ["000", "003", "006"]}
    assert choose_frames(entry(frames="first", count=2), index) == {"a": ["000", "001"]}
    assert choose_frames(entry(frames="each"), numbered(a=2)) == {"a/000": ["000"], "a/001": ["001"]}
    assert choose_frames(entry(), index) == index


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": "random", "count": 3}, "needs seed"),
        ({"frames": "stride"}, "needs stride"),
        ({"frames": "all", "seed": 1}, "has no seed"),
        ({"at_most_half": True}, "belongs to frames = 'stride'"),
        ({"height": 84}, "belongs to resize = 'squash'"),
        ({"resize": "cover"}, "resize = 'cover' needs height"),
    ],
)
def test_incomplete_rules_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entry(**values)


def test_pinned_list_round_trip_and_refusals(tmp_path: Path) -> None:
    def setting(count: int, **options: int) -> Setting:
        return Setting("protocol", (), 84, dict(options), entry(frames="first", count=count))

    rule, path = setting(2), tmp_path / "set-protocol.json"
    assert read_pinned(path, rule) is None
    chosen = choose_frames(entry(frames="first", count=2), numbered(a=7, b=7))
    write_pinned(path, "set", rule, chosen)
    assert read_pinned(path, rule) == chosen
    assert json.loads(path.read_text())["hash"] == hash_frames(chosen)
    for other in (setting(3), setting(2, per_category=1)):
        with pytest.raises(UserError, match=r"set-protocol\.json: key 'rule' is"):
            read_pinned(path, other)
    path.write_text(path.read_text().replace('"001"', '"002"'))
    with pytest.raises(UserError, match=r"set-protocol\.json: key 'hash' is not that of the frames"):
        read_pinned(path, rule)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"set-protocol\.json: not a frame list"):
        read_pinned(path, rule)


# Reading ------------------------------------------------------------------------------------------------------------


class Made(FileDataset):
    """Frames whose ground truth a test sets; pictures lie in the root."""

    frame = Frame(Path("none"))

    def parts(self) -> list[str]:
        return ["one"]

    def index(self, part: str) -> FrameList:
        return {"one/two": ["0.png", "1.png"]}

    def read_frame(self, sequence: str, frame: str) -> Frame:
        return replace(self.frame, image=inside(self.root, frame))


def made(root: Path, frame: Frame, **values: object) -> Made:
    for name, size in (("0.png", (100, 80)), ("1.png", (80, 100))):
        Image.new("RGB", size, "red").save(root / name)
    card = load_card(DatasetCard, "folder")
    rule = entry(**values)
    data = Made(card, Dataset.Options(), Setting("test", (), rule.width, {}, rule), root, None)
    data.frame = frame
    return data


EYE = np.eye(3, 4)
FAR = np.array([0.0, 0, 0, 1e6])
K = np.array([[50.0, 0, 50], [0, 50, 40], [0, 0, 1]])


def test_frames_of_different_shape_are_padded_with_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(tmp_path, Frame(Path(), EYE, K, np.full((90, 90), 2.0, np.float32)))
    monkeypatch.setattr(file_dataset, "SHAPE", 1.0)
    scene = data.load("one/two")
    assert scene.category == "one"
    assert scene.images.shape == (2, 3, 84, 84)
    assert float(scene.images[0, :, 0].min()) == 1  # landscape: white above
    assert scene.depth is not None
    assert scene.mask is not None
    assert not scene.mask[0, 0].any()
    assert scene.mask[0, 42].all()
    assert scene.intrinsics is not None
    assert float(scene.intrinsics[0, 1, 2]) == pytest.approx(42)


def test_depth_stays_as_stored_where_the_protocol_scores_it_there(tmp_path: Path) -> None:
    depth = np.full((40, 50), 2.0, np.float32)
    depth[0, 0] = np.inf
    scene = made(tmp_path, Frame(Path(), None, None, depth), truth="native").read("one/two", ["0.png", "0.png"])
    assert scene.depth is not None
    assert scene.mask is not None
    assert scene.depth.shape == (2, 40, 50)
    assert int(scene.mask.sum()) == 2 * 40 * 50 - 2
    assert torch.isfinite(scene.depth).all()


def test_depth_must_cover_the_picture(tmp_path: Path) -> None:
    depth = np.full((70, 100), 2.0, np.float32)
    with pytest.raises(BadData, match=r"0\.png: a depth map of 100 x 70 does not cover this picture of 100 x 80"):
        made(tmp_path, Frame(Path(), None, None, depth)).load("one/two")


def test_depth_as_stored_needs_a_picture_that_is_neither_cropped_nor_padded(tmp_path: Path) -> None:
    depth = np.full((80, 100), 2.0, np.float32)
    data = made(tmp_path, Frame(Path(), None, None, depth), truth="native", resize="pad")
    with pytest.raises(BadData, match="cropped or padded"):
        data.read("one/two", ["0.png"])
    with pytest.raises(BadData, match=r"1\.png: a depth map of 100 x 80 does not cover this picture of 80 x 100"):
        made(tmp_path, Frame(Path(), None, None, depth), truth="native").load("one/two")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(Path(), EYE + np.nan, K), r"frame 0\.png: pose is not finite"),
        (Frame(Path(), 2 * EYE, K), "not a rotation and a translation"),
        (Frame(Path(), EYE * [1, 1, -1, 1], K), "not a rotation and a translation"),
        (Frame(Path(), EYE + FAR, K), "wrong units or a failed reconstruction"),
        (Frame(Path(), EYE, K + np.inf), r"frame 0\.png: intrinsics is not finite"),
        (Frame(Path(), EYE, -K), "a focal length is not positive"),
        (Frame(Path(), EYE, K, np.full((80, 100), 2000.0, np.float32)), r"median depth is 2e\+03 m.*wrong units"),
        (Frame(Path(), EYE, K, np.full((80, 100), np.nan, np.float32)), "no pixel has a valid depth"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path: Path, frame: Frame, message: str) -> None:
    with pytest.raises(BadData, match=f"^folder, sequence one/two: .*{message}"):
        made(tmp_path, frame).read("one/two", ["0.png"])


def test_truncated_missing_and_enormous_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(tmp_path, Frame(Path()))
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadData, match=r"one/two: .*0\.png: more than 250 million pixels, .*; store it smaller"):
        data.load("one/two")
    monkeypatch.undo()
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:5000])
    with pytest.raises(BadData, match=r"one/two: .*0\.png: not a readable picture"):
        data.load("one/two")
    (tmp_path / "0.png").unlink()
    with pytest.raises(BadData, match=r"one/two: .*0\.png: no such file"):
        data.load("one/two")


def test_paths_stay_inside_but_links_are_the_owners(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    for parts in (("..", "secret"), ("/etc/passwd",), ("a", "../../secret"), ("..", "data-of-others", "x")):
        with pytest.raises(BadData, match="leads out of the data set's folder"):
            inside(tmp_path / "data", *parts)
    with pytest.raises(BadData, match="leads out of the data set's folder"):
        inside(tmp_path / "data", "link/../../secret")
    assert inside(tmp_path / "data", "link/../x") == tmp_path / "data" / "x"  # not what lies beside the link's end
    assert inside(tmp_path / "data", "link", "x") == tmp_path / "data" / "link" / "x"
    assert inside(tmp_path / "data", "a", "..", "b").name == "b"


@pytest.mark.parametrize("root", [".", "", "..", "../data", "./", "link/.."])
def test_paths_stay_inside_a_root_made_of_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    data = tmp_path / "data"
    (data / "link").mkdir(parents=True)
    monkeypatch.chdir(data)
    for name in ("../secret/x", "../../secret/x", "a/../../secret/x", "..", "../data-of-others/x", "/etc/passwd"):
        with pytest.raises(BadData, match="leads out of the data set's folder"):
            inside(Path(root), name)
    assert inside(Path(root), "a", "x").resolve() == (Path(root) / "a" / "x").resolve()
    assert inside(Path(root), str((Path(root) / "a").absolute())) == Path(root) / "a"  # a name that is written whole


# In a sweep ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three sequences of two pictures; the second one's last picture is damaged."""
    root = tmp_path / "pictures"
    for number, name in enumerate(("a", "b", "c")):
        (root / name).mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 256, (42, 56, 3), dtype=np.uint8)
        for index in range(2):
            Image.fromarray(noise + np.uint8(index)).save(root / name / f"{index}.png")
    damaged = root / "b" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The project's cards, with the pictures protocol at 84 pixels."""
    content = tmp_path / "content"
    (content / "datasets").mkdir(parents=True)
    root = cards.content_root()
    (content / "methods").symlink_to(root / "methods")
    for path in (root / "datasets").glob("*.toml"):
        (content / "datasets" / path.name).symlink_to(path)
    (content / "datasets/protocols").mkdir()
    text = (root / "datasets/protocols/pictures.toml").read_text()
    (content / "datasets/protocols/pictures.toml").write_text(text.replace("518", "84"))
    for module in (cards, frame_lists):
        monkeypatch.setattr(module, "content_root", lambda: content)
    return content


REQUEST = Request(["rtn"], ["w4a4"], ["folder"])


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_bad_data_fails_its_run_or_is_counted(small: Path, pictures: Path, tmp_path: Path, policy: OnBadData) -> None:
    request = replace(REQUEST, roots={"folder": pictures})
    loaded = LoadedModel.load(request)
    [result] = Sweep(Workspace(tmp_path / "runs"), on_bad_data=policy).execute(plan(request, loaded)).results
    if policy == "stop":
        assert result.status == "failed"
        assert result.error is not None
        assert "folder, sequence b" in result.error
        assert "--on-bad-data skip" in result.error
        return
    assert result.status == "ok"
    assert [row["sequence"] for row in result.sequences] == ["a", "c"]
    assert "notes" not in result.values()  # of a copy without remarks
    [skipped] = result.values()["skipped"]
    assert skipped["sequence"] == "b"
    assert "1.png: not a readable picture" in skipped["reason"]


def test_repaired_data_is_scored_again(small: Path, pictures: Path, tmp_path: Path) -> None:
    request = replace(REQUEST, roots={"folder": pictures})
    loaded, workspace = LoadedModel.load(request), Workspace(tmp_path / "runs")
    damaged, whole = pictures / "b" / "1.png", pictures / "b" / "0.png"
    hidden = damaged.read_bytes()

    def run(policy: OnBadData) -> tuple[int, int]:
        [run] = plan(request, loaded)
        outcome = Sweep(workspace, on_bad_data=policy).execute([replace(run, dataset=Same(run.dataset))])  # type: ignore[arg-type]
        return outcome.computed, len(outcome.results[0].sequences)

    class Same:
        """The data set under the identity that it had before the repair, as one in files with fixed names has."""

        def __init__(self, dataset: Dataset) -> None:
            self.dataset = dataset

        def __getattr__(self, name: str) -> object:
            return getattr(self.dataset, name)

        def source(self) -> dict[str, object]:
            return {"name": "folder", "loader": "folder", "options": {}}

    assert run("skip") == (1, 2)
    assert run("skip") == (0, 2)
    damaged.write_bytes(whole.read_bytes())
    assert run("skip") == (1, 3)
    damaged.write_bytes(hidden)
    assert run("skip") == (0, 3)  # what is stored is whole


def test_folders_are_told_apart_by_their_pictures(small: Path, pictures: Path) -> None:
    card = load_card(DatasetCard, "folder")
    before = open_dataset(card, pictures).source()
    Image.new("RGB", (56, 42), "blue").save(pictures / "a" / "0.png")
    assert open_dataset(card, pictures).source() != before


def test_nothing_but_bad_data_is_a_failure(small: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("a", "c"):
        (pictures / name / "0.png").write_bytes(b"")
    request = replace(REQUEST, roots={"folder": pictures})
    [result] = Sweep(Workspace(tmp_path / "runs"), on_bad_data="skip").execute(plan(request, LoadedModel.load(request))).results  # fmt: skip
    assert result.status == "failed"
    assert "every sequence was skipped as bad data" in (result.error or "")


def test_pinned_frames_decide_and_missing_ones_are_bad_data(small: Path, pictures: Path) -> None:
    card = load_card(DatasetCard, "folder")
    before = open_dataset(card, pictures)
    assert isinstance(before, FileDataset)
    drawn = before.frame_list_hash
    pinned = {"a": ["1.png"], "gone": ["0.png"]}
    write_pinned(frame_lists.pinned_path("folder", "pictures"), "folder", before.setting, pinned)
    after = open_dataset(card, pictures)
    assert after.frames == pinned
    assert after.frame_list_hash != drawn
    assert len(after.load("a").images) == 1
    with pytest.raises(BadData, match=r"folder, sequence gone: .*no such file"):
        after.load("gone")


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_part_that_cannot_be_indexed_is_like_a_sequence_that_cannot_be_read(
    small: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: OnBadData
) -> None:
    index = Folder.index

    def stumble(self: Folder, part: str) -> FrameList:
        if part == "b":
            raise UserError("b/list.json: not a list")
        return index(self, part)

    monkeypatch.setattr(Folder, "index", stumble)
    (pictures / "._b").touch()
    request = replace(REQUEST, roots={"folder": pictures})
    runs = plan(request, LoadedModel.load(request))
    assert runs[0].dataset.broken == {"b": "folder, b: b/list.json: not a list"}
    with pytest.raises(BadData, match="not a list"):
        runs[0].dataset.check_whole()
    [result] = Sweep(Workspace(tmp_path / "runs"), on_bad_data=policy).execute(runs).results
    if policy == "stop":
        assert (result.status, result.notes) == ("failed", [])
        assert "folder, b: b/list.json: not a list; repair it, or leave it out" in str(result.error)
        return
    assert result.status == "ok"
    assert [row["sequence"] for row in result.sequences] == ["a", "c"]
    assert result.skipped == [{"sequence": "b", "reason": "folder, b: b/list.json: not a list"}]
    assert result.values()["notes"] == ["1 hidden files or folders, or a system's own: ._b"]


def test_a_root_is_asked_for_and_protocols_are_checked(small: Path, tmp_path: Path) -> None:
    card = load_card(DatasetCard, "folder")
    with pytest.raises(UserError, match="--root folder=PATH"):
        open_dataset(card)
    with pytest.raises(UserError, match="has no protocol 'fgq'; it has pictures"):
        open_dataset(card, tmp_path, protocol="fgq")
    with pytest.raises(UserError, match="no sequence in"):
        open_dataset(card, tmp_path / "content" / "methods").frames  # noqa: B018


def test_a_protocol_is_part_of_the_key_what_is_printed_is_not(small: Path, pictures: Path) -> None:
    loaded = LoadedModel.load(REQUEST)
    request = replace(REQUEST, roots={"folder": pictures})
    path = small / "datasets/protocols/pictures.toml"
    keys = []
    for old, new in (("", ""), ('"agreement.points"', '"agreement.centre"'), ('frames = "all"', 'frames = "each"')):
        text = path.read_text()
        path.write_text(text.replace(old, new) if old else text)
        keys.append(next(plan(request, loaded)[0].cells()).key)
    assert keys[0] == keys[1] != keys[2]


# Calibration --------------------------------------------------------------------------------------------------------


def test_manifest_of_a_protocol_reads_the_same_pictures_and_knows_when_not(
    small: Path, pictures: Path, tmp_path: Path
) -> None:
    card = load_card(DatasetCard, "folder")
    drawn = sample_random("m", [open_dataset(card, pictures)], 1, 2, 0)
    drawn.save(tmp_path / "m.json")
    manifest = load_manifest(str(tmp_path / "m.json"))
    assert manifest == drawn
    assert dict(manifest.sources)["folder"].startswith("pictures:")
    clips = CalibrationClips(manifest, {"folder": pictures})
    if drawn.clips[0].sequence != "b":
        assert next(iter(clips)).shape == (2, 3, 70, 84)
    with pytest.raises(UserError, match="which folder scores"):
        clips.check_disjoint(open_dataset(card, pictures))
    path = small / "datasets/protocols/pictures.toml"
    path.write_text(path.read_text().replace("84", "98"))
    other = sample_random("m", [open_dataset(card, pictures)], 1, 2, 0)
    assert other.clips == drawn.clips
    assert other.hash != drawn.hash
    with pytest.raises(UserError, match="the card of folder has changed since"):
        CalibrationClips(manifest, {"folder": pictures})


def test_a_scene_in_memory_is_not_that_of_another_folder(tmp_path: Path) -> None:
    cache = SceneCache()
    for name, grey in (("dark", 0), ("bright", 255)):
        (tmp_path / name).mkdir()
        Image.new("L", (56, 56), grey).save(tmp_path / name / "0.png")
        data = open_dataset(load_card(DatasetCard, "folder"), tmp_path / name)
        assert float(cache.load(data, ".").images.mean()) == grey / 255
