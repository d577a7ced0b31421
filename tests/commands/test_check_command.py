"""``fgq-bench check``: what a user learns about a copy of a data set."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from real_scenes import sample
from typer.testing import CliRunner

from fgq_bench import cli
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands import inventory
from fgq_bench.commands.spot_check import spread
from fgq_bench.errors import UserError
from fgq_bench.loaders import file_dataset
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.frames import read_pinned, write_pinned
from fgq_bench.loaders.procedural import Procedural
from fgq_bench.loaders.scene import Scene


def check(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(cli.app, ["check", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def report(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check(*arguments, "--json", code=code))
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two sequences of three pictures."""
    for place in ("kitchen", "garden"):
        (tmp_path / "data" / place).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (64, 48), (80 * number, 90, 10)).save(tmp_path / "data" / place / f"{number}.png")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real sample as a 7-Scenes tree: one test sequence of 10 frames."""
    source, root = sample("7scenes/redkitchen/seq-png"), tmp_path_factory.mktemp("7scenes")
    place = root / "redkitchen" / "seq-03"
    place.mkdir(parents=True)
    (root / "redkitchen" / "TestSplit.txt").write_text("sequence3\n")
    for number, pose in enumerate(sorted(source.glob("*.pose.txt"))):
        for suffix in ("color.png", "depth.png", "pose.txt"):
            shutil.copy(source / f"{pose.name[:12]}.{suffix}", place / f"frame-{number:06d}.{suffix}")
    return root


def test_help() -> None:
    assert "before a sweep" in check("--help")


def test_a_procedural_set_needs_no_folder(tmp_path: Path) -> None:
    assert "nothing is wrong" in check("procedural-rooms", "-o", tmp_path)
    assert (tmp_path / "contact-sheet.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["inventory"]["sequences"] == 128
    assert [entry["sequence"][-4:] for entry in found["sequences"]] == ["0000", "0042", "0085", "0127"]
    first = found["sequences"][0]
    assert (first["frames"], first["width"], first["height"], first["valid"]) == (4, 84, 84, 1.0)
    assert [verdict["check"] for verdict in first["verdicts"]] == ["depth", "depth scale", "epipolar"]
    assert {entry["verdicts"][0]["state"] for entry in found["sequences"]} == {"ok"}


@pytest.mark.parametrize("root", ["{}", "folder={}"])
def test_pictures_without_truth(pictures: Path, root: str) -> None:
    found = report("folder", "--root", root.format(pictures))
    assert (found["inventory"]["sequences"], found["inventory"]["frames"], found["problems"]) == (2, 6, [])
    states = {verdict["state"] for entry in found["sequences"] for verdict in entry["verdicts"]}
    assert states == {"not checked"}
    text = check("folder", "--root", root.format(pictures))
    assert "garden, kitchen: depth not checked: the data set has no poses" in text


def test_broken_files_are_listed_and_the_rest_is_read(pictures: Path, tmp_path: Path) -> None:
    (pictures / "garden" / "1.png").write_bytes((pictures / "garden" / "1.png").read_bytes()[:60])
    text = check("folder", "--root", pictures, "-o", tmp_path / "out", code=1)
    assert "not readable: folder, sequence garden: " in text
    assert "1.png: not a readable picture" in text
    assert "problems: 1" in text
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert [bool(entry["failure"]) for entry in found["sequences"]] == [True, False]
    assert (tmp_path / "out" / "contact-sheet.png").is_file()


def test_what_is_left_out_is_said(pictures: Path) -> None:
    (pictures / "garden" / ".DS_Store").touch()
    (pictures / "garden" / "notes.txt").touch()
    text = check("folder", "--root", pictures)
    assert "nothing is wrong" in text  # with the pictures
    assert "1 hidden files or folders" in " ".join(text.split())
    (pictures / "garden" / "3.HEIC").touch()
    (pictures / "kitchen" / "3.png").symlink_to(pictures / "gone.png")
    found = report("folder", "--root", pictures, code=1)
    assert found["problems"] == [
        "left out: 1 links to nothing: kitchen/3.png",
        "left out: 1 pictures of a format that is not read (convert them to JPEG, PNG or WebP): garden/3.HEIC",
    ]
    assert found["inventory"]["frames"] == 6
    assert len(found["inventory"]["ignored"]) == 2
    assert "nothing is wrong" not in check("folder", "--root", pictures, code=1)


def test_a_part_that_cannot_be_indexed_does_not_end_the_check(tmp_path: Path) -> None:
    (tmp_path / "chess" / "seq-03").mkdir(parents=True)
    (tmp_path / "chess" / "TestSplit.txt").write_text("sequence3\n")
    (tmp_path / "chess" / "seq-03" / "frame-000000.color.png").touch()
    (tmp_path / "fire").mkdir()
    (tmp_path / "fire" / "TestSplit.txt").write_text("third\n")
    problems = report("7scenes", "--root", tmp_path, code=1)["problems"]
    assert [line for line in problems if "fire" in line] == [
        f"not readable: 7scenes, fire: {tmp_path}/fire/TestSplit.txt:1: 'sequence3' or the like is expected, not 'third'"
    ]
    assert "missing: chess/seq-03: 1 of 1000 frames, number 1 is the first that is not here" in problems


def test_what_no_loader_foresaw_does_not_end_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Procedural.load

    def stumble(self: Procedural, sequence: str) -> Scene:
        if sequence.endswith("0042"):
            raise ZeroDivisionError("division by zero")
        return load(self, sequence)

    monkeypatch.setattr(Procedural, "load", stumble)
    found = report("procedural-rooms", code=1)
    assert found["problems"] == ["not readable: procedural-rooms, sequence rooms-test-0042: ZeroDivisionError: division by zero"]  # fmt: skip


def test_misread_poses_are_suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Procedural.load

    def misread(self: Procedural, sequence: str) -> Scene:
        scene = load(self, sequence)
        assert scene.extrinsics is not None
        bottom = torch.tensor([0, 0, 0, 1.0]).expand(4, 1, 4)
        return replace(scene, extrinsics=torch.linalg.inv(torch.cat([scene.extrinsics, bottom], 1))[:, :3])

    monkeypatch.setattr(Procedural, "load", misread)
    text = check("procedural-rooms", "--sequences", "1", code=1)
    assert "suspicious: sequence rooms-test-0000, depth: inverted poses fit better" in text


def test_a_pinned_list_says_what_is_missing_here(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = open_dataset(load_card(DatasetCard, "folder"), pictures).setting
    path = tmp_path / "pinned.json"
    frames = {"attic": ["0.png"], "cellar": ["0.png"], "garden": ["0.png", "7.png"], "kitchen": ["2.png"]}
    write_pinned(path, "folder", setting, frames)
    assert read_pinned(path, setting) == frames
    for module in (file_dataset, inventory):
        monkeypatch.setattr(module, "pinned_path", lambda dataset, protocol: path)
    found = report("folder", "--root", pictures, code=1)
    assert found["inventory"]["pinned"] is True
    assert found["inventory"]["scored"] == ["kitchen"]
    assert found["problems"] == [
        "missing: 2 of 4 scored sequences are not here: attic, cellar",
        "missing: 1 of 4 scored sequences lack frames that are scored: garden",
    ]


def test_sequences_that_the_protocol_leaves_out_are_counted(tmp_path: Path) -> None:
    """CO3D, where a sequence needs 50 frames; nothing is left to score, and nothing is drawn."""
    frame = {"R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "T": [0, 0, 1], "focal_length": [1, 1], "principal_point": [0, 0]}
    frames = [{**frame, "filepath": f"apple/one/images/frame{number:06d}.jpg"} for number in range(49)]
    (tmp_path / "apple_test.jgz").write_bytes(gzip.compress(json.dumps({"one": frames}).encode()))
    found = report("co3dv2", "--root", tmp_path, "-o", tmp_path / "out", code=1)
    assert found["inventory"]["left_out"] == {"too few frames for the protocol (50 needed)": 1}
    assert found["problems"][0] == "no sequence that the protocol scores is here"
    assert "missing: category ball: no annotations" in found["problems"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["check.json"]
    text = check("co3dv2", "--root", tmp_path, code=1)
    assert "1 too few frames for the protocol" in text
    assert "... and " in text


def test_sequences_zero_reads_all(pictures: Path) -> None:
    assert len(report("folder", "--root", pictures, "--sequences", "0")["sequences"]) == 2
    assert len(report("folder", "--root", pictures, "--sequences", "1")["sequences"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder"], "give its folder with --root folder=PATH"),
        (["folder", "--root", "/nowhere"], "--root /nowhere: no such folder"),
        (["folder", "--root", "kitti=/tmp"], "--root kitti=/tmp: the data set that is checked is folder"),
        (["foldr", "--root", "/tmp"], "did you mean folder"),
        (["procedural-rooms", "--protocol", "fgq"], "has its own protocol"),
    ],
)
def test_a_users_mistake_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(*arguments)


def test_an_empty_folder_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sequence in"):
        check("folder", "--root", tmp_path)


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10))), (99, list(range(10)))]
)
def test_spread(count: int, chosen: list[int]) -> None:
    assert spread(range(10), count) == chosen


def test_seven_scenes_with_raw_depth(kitchen: Path) -> None:
    """One frame is scored (every 100th); geometry is that of neighbours. Missing scenes make the copy incomplete."""
    found = report("7scenes", "--root", kitchen, "--protocol", "quantvggt", code=1)
    assert "not registered to the colour camera" in found["notes"]
    assert found["inventory"]["scored_frames"] == 1
    lacking = "missing: redkitchen/seq-03: 10 of 1000 frames, number 10 is the first that is not here"
    assert lacking in found["problems"]
    assert all(line == lacking or line.startswith("missing: scene ") for line in found["problems"])
    (entry,) = found["sequences"]
    assert entry["judged"] == [f"{number:06d}" for number in range(10)]
    depth, scale, epipolar = entry["verdicts"]
    assert (depth["state"], scale["state"], epipolar["state"]) == ("ok", "undecided", "ok")
    assert depth["pairs"] == epipolar["fitting"] == 24
    assert depth["worst"]["read"] < 0.02 < depth["worst"]["inverted"]
    assert epipolar["worst"]["read"] < 3 < 8 < epipolar["worst"]["inverted"]
    text = check("7scenes", "--root", kitchen, "--protocol", "quantvggt", code=1)
    assert (
        "epipolar ok: the poses fit, inverted ones do not (24 of 24 pairs of frames fit, 0 contradict; worst: " in text
    )


def test_seven_scenes_without_registered_depth(kitchen: Path) -> None:
    text = check("7scenes", "--root", kitchen, code=1)
    assert "missing: redkitchen/seq-03: no .depth.proj.png" in text
    assert "not readable: 7scenes, sequence redkitchen/seq-03: " in text


def test_neighbours_that_cannot_be_read_are_no_fault(kitchen: Path, tmp_path: Path) -> None:
    """A copy may hold only what is scored; the geometry is then that of the scored frames."""
    root = tmp_path / "scored-only"
    shutil.copytree(kitchen, root)
    (root / "redkitchen" / "seq-03" / "frame-000004.depth.png").write_bytes(b"")
    found = report("7scenes", "--root", root, "--protocol", "quantvggt", code=1)
    assert not any(line.startswith("not readable") for line in found["problems"])
    assert found["sequences"][0]["judged"] == ["000000"]
    assert found["sequences"][0]["verdicts"][0]["why"] == "a single frame"


def test_a_loader_that_takes_poses_the_wrong_way_round_is_found_out(
    kitchen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgq_bench.loaders.seven_scenes.invert_pose", lambda pose: pose[:3])
    text = check("7scenes", "--root", kitchen, "--protocol", "quantvggt", code=1)
    assert "suspicious: sequence redkitchen/seq-03, depth: inverted poses fit better" in text
    assert "suspicious: sequence redkitchen/seq-03, epipolar: inverted poses fit better" in text


def test_re10k_squashed_frames(tmp_path: Path) -> None:
    shutil.copytree(sample("re10k/cameras"), tmp_path / "cameras")
    shutil.copytree(sample("re10k/frames"), tmp_path / "frames")
    found = report("re10k", "--root", tmp_path, "--sequences", "2", code=1)
    assert found["problems"] == ["missing: 6 clips, the public test list has 1719"]
    for entry in found["sequences"]:
        depth, scale, epipolar = entry["verdicts"]
        assert (depth["state"], scale["state"], epipolar["state"]) == ("not checked", "not checked", "ok")
        assert (epipolar["contradicting"], epipolar["worst"]["read"] < 0.5) == (0, True)
        assert epipolar["worst"]["inverted"] > 2.5
