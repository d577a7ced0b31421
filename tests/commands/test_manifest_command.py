"""``fgq-bench manifest``: every sampler on a small pool, and mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgq_bench import cli
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.cards import content_root
from fgq_bench.errors import UserError

Call = Callable[..., str]
POOL = "procedural-rooms-pool"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card of a pool of 12 sequences."""
    path = tmp_path_factory.mktemp("cards") / f"{POOL}.toml"
    text = (content_root() / "datasets" / path.name).read_text()
    path.write_text(text.replace("sequences = 400", "sequences = 12"))
    return path


@pytest.fixture(scope="module")
def call(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The verb with a sampler; all calls share the candidates' features."""
    shared = tmp_path_factory.mktemp("shared")

    def run(sampler: str, output: Path, *arguments: str | Path) -> str:
        words = ["manifest", "-d", card, "--sampler", sampler, "--shared", shared, "--frames", "3", *arguments, "-o", output]  # fmt: skip
        result = CliRunner().invoke(cli.app, list(map(str, words)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_nfds_with_its_figure(call: Call, tmp_path: Path) -> None:
    options = ["--sequences", "4", "--clusters", "2", "--share", "0.25", "--figure", tmp_path / "m.png"]
    printed = call("nfds", tmp_path / "m.json", *options)
    assert f"{POOL}: 12 candidates, 3 rejected, 4 chosen" in printed
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    manifest = load_manifest(str(tmp_path / "m.json"))
    assert (manifest.sampler, len(manifest.clips)) == ("nfds", 4)
    clusters = sorted(manifest.selection["clusters"][POOL].values())
    assert set(clusters) == {0, 1}
    assert sum(manifest.selection["cluster_sizes"]) == 9
    assert not {clip.sequence for clip in manifest.clips} & set(manifest.selection["rejected"][POOL])
    call("nfds", tmp_path / "again.json", *options[:-2])
    again = load_manifest(str(tmp_path / "again.json"))
    assert again.hash == manifest.hash
    assert again.selection == manifest.selection


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("filtered", ["--share", "0.5", "--keep"]),
        ("filtered", ["--filter", "iqr"]),
        ("clustered", ["--clusters", "3"]),
        ("nfds", ["--filter", "iqr", "--clusters", "3"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_sampler(call: Call, tmp_path: Path, sampler: str, options: list[str]) -> None:
    call(sampler, tmp_path / "m.json", "--sequences", "6", *options, "--figure", tmp_path / "m.png")
    values = json.loads((tmp_path / "m.json").read_text())
    assert values["sampler"] == sampler
    assert len({sequence for _, sequence, _ in values["clips"]}) == 6
    assert values["selection"]["layers"] == ["aggregator.frame_blocks.3", "aggregator.global_blocks.3"]
    assert ("clusters" in values["selection"]) == (sampler != "filtered")


def test_committed_manifests_are_what_they_say() -> None:
    paths = sorted((content_root() / "datasets" / "calibration").glob("*.json"))
    assert len(paths) >= 17
    for path in paths:
        manifest = load_manifest(path.stem)
        CalibrationClips(manifest, {})
        sequences, frames = path.stem.split("-")[1].split("x")
        assert len(manifest.clips) == int(sequences)
        assert {len(clip.frames) for clip in manifest.clips} == {int(frames)}
        assert (manifest.name, bool(manifest.selection)) == (path.stem, manifest.sampler != "random")


BAD = [
    (["--sampler", "nfd"], "unknown sampler 'nfd'; did you mean nfds?"),
    (["--clusters", "8"], "--clusters: sampler random does not use it; these do: clustered, nfds"),
    (["--figure", "x.png"], "--figure: sampler random does not use it; these do: filtered, clustered, nfds"),
    (["--model", "vggt-tiny"], "--model: sampler random does not use it"),
    (["--sampler", "filtered", "--clusters", "8"], "--clusters: sampler filtered does not use it"),
    (["--sampler", "clustered", "--keep"], "--keep: sampler clustered does not use it; these do: filtered, nfds"),
    (["--sampler", "nfds", "--filter", "iqr", "--share", "0.1"], "--share: filter iqr rejects by quartiles"),
    (["--sampler", "nfds", "--filter", "median"], "--filter 'median': use one of zscore, iqr"),
    (["--sampler", "nfds", "--share", "1"], "--share 1: must lie between 0 and 1"),
    (["--sampler", "nfds", "--share", "0"], "--share 0: must lie between 0 and 1"),
    (["--sampler", "nfds", "--clusters", "0"], "--clusters 0: must be 1 or more"),
    (["--sampler", "nfds", "--figure", "x.pdf"], "--figure x.pdf: must end in .png"),
    (["--sampler", "nfds", "--frames", "1"], "--frames 1: sampler nfds compares the first frame with the others"),
    (["--sampler", "nfds", "--frames", "11"], "--frames 11: rooms-pool-0000 of procedural-rooms-pool has 10"),
    (["--sampler", "nfds", "--sequences", "321"], "--sequences 321: 320 of 400 candidates are left by the filter"),
    (["--sampler", "nfds", "--sequences", "5", "--clusters", "321"], "--clusters 321: 320 of 400 candidates are left"),
    (["--sampler", "nfds", "-d", POOL], "--dataset procedural-rooms-pool: given 2 times; once is enough"),
    (["--sampler", "nfds", "--device", "cuda:7"], "--device 'cuda:7': not available here"),
    (["--sampler", "nfds", "--model", "vggt-tiy"], "unknown model 'vggt-tiy'; did you mean vggt-tiny"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    words = ["manifest", "-d", POOL, *arguments, "-o", str(tmp_path / "m.json")]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
