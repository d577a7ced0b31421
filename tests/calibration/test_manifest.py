"""Manifests: drawn by a seeded sampler, identified by their clips, disjoint from what is scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fgq_bench.calibration.manifest import (
    FOLDER,
    CalibrationClips,
    Clip,
    Manifest,
    choose_manifest,
    fingerprint,
    load_manifest,
    manifest_names,
)
from fgq_bench.calibration.sampling import sample_random
from fgq_bench.cards import DatasetCard, content_root, load_card
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.models.checkpoints import MODELS


def pools() -> list[Dataset]:
    return [open_dataset(load_card(DatasetCard, f"procedural-{family}-pool")) for family in ("objects", "rooms")]


def test_the_committed_manifest_is_what_its_sampler_draws() -> None:
    drawn = sample_random("procedural-64x4", pools(), 64, 4, 42)
    path = content_root() / "datasets" / "calibration" / "procedural-64x4.json"
    assert json.loads(path.read_text()) == drawn.to_dict()
    families = [clip.dataset for clip in drawn.clips]
    assert families.count("procedural-objects-pool") == families.count("procedural-rooms-pool") == 32
    assert all(spec.calibration in (None, *manifest_names()) for spec in MODELS.values())


@pytest.mark.parametrize("name", [name for name in manifest_names() if load_manifest(name).sampler == "random"])
def test_random_manifests_are_drawn_again_byte_by_byte(name: str, tmp_path: Path) -> None:
    sequences, frames = name.split("-")[1].split("x")
    sample_random(name, pools(), int(sequences), int(frames), 42).save(tmp_path / "m.json")
    assert (tmp_path / "m.json").read_bytes() == (content_root() / FOLDER / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", manifest_names())
def test_disjoint_from_every_test_list(name: str) -> None:
    clips = CalibrationClips(load_manifest(name), {})
    for family in ("objects", "rooms"):
        clips.check_disjoint(open_dataset(load_card(DatasetCard, f"procedural-{family}")))


def test_an_overlap_is_refused() -> None:
    test = open_dataset(load_card(DatasetCard, "procedural-rooms"))
    manifest = Manifest(
        "bad",
        "random",
        0,
        (Clip("procedural-rooms", "rooms-test-0003", ("0", "1")),),
        ((test.card.name, fingerprint(test)),),
    )
    with pytest.raises(UserError, match="manifest bad: calibrates on 'rooms-test-0003' of procedural-rooms, which"):
        CalibrationClips(manifest, {}).check_disjoint(test)


def test_clips_are_the_named_frames_in_order() -> None:
    sources = sample_random("m", pools(), 2, 2, 0).sources
    manifest = Manifest("m", "random", 0, (Clip("procedural-rooms-pool", "rooms-pool-0007", ("5", "2")),), sources)
    whole = pools()[1].load("rooms-pool-0007").images
    assert torch.equal(next(iter(CalibrationClips(manifest, {}))), whole[[5, 2]])


def test_mistakes_name_the_file_and_the_reason(tmp_path: Path) -> None:
    drawn = sample_random("m", pools(), 2, 2, 0)
    path = tmp_path / "m.json"
    values = drawn.to_dict()
    values["clips"][0][2][0] = "9"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"m\.json: key 'hash' is not that of the clips"):
        load_manifest(str(path))
    path.write_text("{}")
    with pytest.raises(UserError, match=r"m\.json: not a calibration manifest \(key 'name': Field required\)"):
        load_manifest(str(path))
    with pytest.raises(UserError, match="unknown calibration manifest 'procedural-64x5'; did you mean procedural-64x4"):
        load_manifest("procedural-64x5")
    with pytest.raises(UserError, match="--sequences 3: not a multiple of the 2 data sets"):
        sample_random("m", pools(), 3, 2, 0)
    with pytest.raises(UserError, match="has 400 sequences, 500 are wanted"):
        sample_random("m", pools(), 1000, 2, 0)
    with pytest.raises(UserError, match="10 frames, 11 are wanted"):
        sample_random("m", pools(), 2, 11, 0)
    missing = Manifest("m", "random", 0, (Clip("procedural-rooms-pool", "rooms-pool-0007", ("77",)),), drawn.sources)
    with pytest.raises(UserError, match="procedural-rooms-pool has no frame '77' of 'rooms-pool-0007'"):
        list(CalibrationClips(missing, {}))


def test_a_changed_card_is_noticed(tmp_path: Path) -> None:
    drawn = sample_random("m", pools(), 2, 2, 0)
    changed = Manifest("m", "random", 0, drawn.clips, tuple((name, "0" * 12) for name, _ in drawn.sources))
    with pytest.raises(UserError, match=r"manifest m: the card of procedural-.*-pool has changed since"):
        CalibrationClips(changed, {})


def test_a_model_without_a_manifest_needs_one() -> None:
    assert choose_manifest(None, "own", "m") == "own"
    assert choose_manifest("asked", None, "m") == "asked"
    with pytest.raises(UserError, match="model vggt-1b comes with no calibration manifest: draw one"):
        choose_manifest(None, MODELS["vggt-1b"].calibration, "vggt-1b")


def test_only_the_manifest_that_is_read_keeps_its_images(manifest: Path) -> None:
    first, second = (CalibrationClips(load_manifest(str(manifest)), {}) for _ in range(2))
    list(first)
    assert first._kept
    list(second)
    assert second._kept and not first._kept
