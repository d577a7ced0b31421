"""The runner's promises: resume, isolate, reproduce, invalidate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from fgq_bench import compiling, predictions, runner
from fgq_bench.commands.given import check_roots, datasets_of
from fgq_bench.errors import OutputError, UserError
from fgq_bench.files import write_atomically
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.predictions import PredictionCache
from fgq_bench.results import Store
from fgq_bench.runner import Sweep, Workspace
from fgq_bench.tasks.base import SequencePrediction
from tests.stores import stored

REQUEST = Request(["fp", "rtn"], ["w4a4", "w8a8"], ["procedural-objects"], ["pose", "depth", "agreement"], limit=2)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return LoadedModel.load(REQUEST)


@pytest.fixture(scope="module")
def done(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("done")
    outcome = Sweep(Workspace(root)).execute(plan(REQUEST, loaded))
    assert outcome.computed == 9
    assert not outcome.failed
    return root


def test_a_cell_that_two_runs_share_is_done_once(loaded: LoadedModel, tmp_path: Path) -> None:
    runs = plan(REQUEST, loaded)[:1]
    pose_only = plan(replace(REQUEST, tasks=["pose"]), loaded)[:1]
    assert Sweep(Workspace(tmp_path)).execute(runs + pose_only).computed == 3


def test_layout_and_names(done: Path) -> None:
    names = sorted(stored(done))
    assert len(names) == 9
    assert all(name.startswith("vggt-tiny/procedural-objects/") for name in names)
    assert not any(set(name) & set("[]:*?") for name in names)
    assert len(list((done / "artifacts/vggt-tiny").glob("*.safetensors"))) == 3


def test_nothing_is_done_twice(done: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "predict", lambda *a: pytest.fail("predicted again"))
    outcome = Sweep(Workspace(done)).execute(plan(REQUEST, loaded))
    assert outcome.computed == 0
    assert len(outcome.results) == 9


def test_cached_predictions_are_rescored_without_the_model(
    done: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(done)
    monkeypatch.setattr(runner, "predict", lambda *a: pytest.fail("predicted again"))
    assert Sweep(Workspace(done), "always").execute(plan(REQUEST, loaded)).computed == 9
    assert stored(done) == before


def test_interrupted_and_resumed_gives_the_same_bytes(
    done: Path, loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = predictions.predict, 0

    def interrupted(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Sweep(Workspace(tmp_path)).execute(plan(REQUEST, loaded))
    assert 0 < len(stored(tmp_path)) < 9
    Sweep(Workspace(tmp_path)).execute(plan(REQUEST, loaded))
    assert stored(tmp_path) == stored(done)


def test_order_of_cells_and_cache_do_not_matter(done: Path, loaded: LoadedModel, tmp_path: Path) -> None:
    runs = plan(REQUEST, loaded)
    Sweep(Workspace(tmp_path, keep_predictions=False)).execute(runs[::-1])
    assert stored(tmp_path) == stored(done)
    assert not (tmp_path / "cache").exists()


def test_a_failing_cell_is_a_result_and_is_retried(
    done: Path, loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compiling.compiled

    def failing(folder: Path, calibrations: Path, run: Run) -> object:
        if str(run.scheme) == "w4a4":
            raise MemoryError("too big\nsecond line")
        return original(folder, calibrations, run)

    monkeypatch.setattr(runner, "compiled", failing)
    outcome = Sweep(Workspace(tmp_path)).execute(plan(REQUEST, loaded))
    assert [result.error for result in outcome.failed] == ["MemoryError: too big"] * 3
    assert outcome.computed == 9
    monkeypatch.undo()
    assert Sweep(Workspace(tmp_path), "never").execute(plan(REQUEST, loaded)).computed == 0
    assert Sweep(Workspace(tmp_path), "failed").execute(plan(REQUEST, loaded)).computed == 3
    assert stored(tmp_path) == stored(done)


def test_unwritable_output_ends_the_sweep(loaded: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder must be")
    with pytest.raises(OutputError, match="cannot be written"):
        Sweep(Workspace(tmp_path)).execute(plan(REQUEST, loaded)[:1])


def test_full_disk_is_one_line_and_keeps_what_is_stored(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = plan(REQUEST, loaded)
    Sweep(Workspace(tmp_path)).execute(runs[:1])
    before = stored(tmp_path)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fgq_bench.files.os.fsync", full)
    with pytest.raises(OutputError, match="no space left on the disk; what was stored before is intact"):
        Sweep(Workspace(tmp_path)).execute(runs)
    assert stored(tmp_path) == before
    assert not list(tmp_path.rglob(".*"))


def test_a_longer_run_reuses_the_predictions_of_a_shorter_one(
    done: Path, loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(done, tmp_path / "copy")
    predicted: list[str] = []

    def counted(model: ReconstructionModel, scene: Scene, dtype: str, fields: frozenset[str]) -> SequencePrediction:
        predicted.append(scene.sequence)
        return predictions.predict(model, scene, dtype, fields)

    monkeypatch.setattr(runner, "predict", counted)
    Sweep(Workspace(copy)).execute(plan(replace(REQUEST, methods=["fp"], limit=3), loaded))
    assert predicted == ["objects-test-0002"]


def test_damaged_prediction_counts_as_absent(done: Path, loaded: LoadedModel) -> None:
    cache = PredictionCache(done / "cache" / "predictions")
    victim = next((done / "cache").rglob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:100])
    before = stored(done)
    assert cache.get(victim.stem, frozenset({"pose_enc"})) is None
    Sweep(Workspace(done), "always").execute(plan(REQUEST, loaded))
    assert stored(done) == before


def test_full_disk_inside_safetensors_is_recognised(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(OutputError, match="no space left on the disk"):
        write_atomically(tmp_path / "x.safetensors", full)
    assert not list(tmp_path.iterdir())


def test_damaged_result_is_named(done: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": 1, "kind"')
    with pytest.raises(UserError, match=r"x\.json: not a result file"):
        Store(tmp_path).read(path)


def keys(request: Request, loaded: LoadedModel) -> set[str]:
    return {cell.key for run in plan(request, loaded) for cell in run.cells()}


@pytest.mark.parametrize(
    "change",
    [{"limit": 3}, {"seeds": [1]}, {"scopes": ["all"]}, {"schemes": ["w4a8"]}, {"datasets": ["procedural-rooms"]}],
    ids=lambda change: next(iter(change)),
)
def test_keys_change_with_every_condition(loaded: LoadedModel, change: dict[str, object]) -> None:
    request = replace(REQUEST, methods=["quarot"])  # its outcome depends on the seed
    assert not keys(request, loaded) & keys(replace(request, **change), loaded)  # type: ignore[arg-type]


def test_static_scales_are_keyed_by_their_manifest(loaded: LoadedModel, manifest: Path) -> None:
    request = replace(REQUEST, methods=["rtn"], schemes=["w4a4", "w4a4-astatic", "w4a16-astatic"])
    used = {str(run.scheme): run.compilation()["calibration"] for run in plan(request, loaded)}
    assert used["w4a4"] is used["w4a16-astatic"] is None
    assert used["w4a4-astatic"]["manifest"] == "procedural-64x4"
    static = replace(request, schemes=["w4a4-astatic"])
    assert not keys(static, loaded) & keys(replace(static, calibration=str(manifest)), loaded)


def test_raised_algorithm_invalidates_exactly_its_cells(loaded: LoadedModel) -> None:
    runs = plan(REQUEST, loaded)
    card = runs[1].method.card
    raised = replace(runs[1].method, card=card.model_copy(update={"algorithm": card.algorithm + 1}))
    retitled = replace(runs[1].method, card=card.model_copy(update={"title": "New title"}))
    original = [cell.key for cell in runs[1].cells()]
    assert not set(original) & {cell.key for cell in replace(runs[1], method=raised).cells()}
    assert original == [cell.key for cell in replace(runs[1], method=retitled).cells()]


def test_key_sees_the_weights(loaded: LoadedModel) -> None:
    assert not keys(REQUEST, loaded) & keys(REQUEST, replace(loaded, hash="0" * 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemes": ["w4a16g50"]}, "group size 50 does not divide the 192 inputs of aggregator.frame_blocks.0"),
        ({"schemes": ["w4"]}, "not of the form"),
        ({"methods": ["nope"]}, "unknown method 'nope'"),
        ({"methods": []}, "name at least one method"),
        ({"methods": ["rtn"], "schemes": []}, "name at least one scheme"),
        ({"datasets": ["co3d"]}, "unknown dataset 'co3d'"),
        ({"tasks": ["poses"]}, "unknown task 'poses'; did you mean pose"),
        ({"scopes": ["heads"]}, "scope 'heads' is unknown"),
        ({"overrides": {"alpha": 0.5}}, "option 'alpha'"),
        ({"protocol": "fgq"}, "has its own protocol"),
        ({"backend": "cuda-int5"}, "unknown backend 'cuda-int5'; did you mean cuda-int"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_requests_are_refused_before_anything_runs(
    loaded: LoadedModel, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan(replace(REQUEST, **change), loaded)  # type: ignore[arg-type]


def test_a_folder_for_a_foreign_data_set_is_refused(loaded: LoadedModel) -> None:
    runs = plan(REQUEST, loaded)
    check_roots(["procedural-objects"], datasets_of(runs))
    with pytest.raises(UserError, match="--root names 'dtu', which is not among the data sets of this run"):
        check_roots(["dtu"], datasets_of(runs))


def test_fp_agrees_with_itself_exactly(done: Path) -> None:
    results = Store(done / "results").all()
    zero = [r for r in results if r.labels["method"] == "fp" and r.labels["task"] == "agreement"]
    assert len(zero) == 1
    assert {entry["value"] for entry in zero[0].metrics.values()} == {0.0}


def test_predictions_do_not_depend_on_the_batch(loaded: LoadedModel) -> None:
    images = torch.rand(3, 2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    together = loaded.model(images)
    alone = loaded.model(images[1:2])
    torch.testing.assert_close(together.pose_enc[1:2], alone.pose_enc, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.depth[1:2], alone.depth, rtol=1e-4, atol=1e-5)


def test_what_a_model_cannot_have_is_no_failure(tmp_path: Path) -> None:
    """QVGGT compensates camera tokens, and π³ has none: a stored result with its reason, and the sweep goes on."""
    request = replace(REQUEST, methods=["qvggt", "rtn"], schemes=["w8a8"], tasks=["pose"], limit=1, model="pi3-tiny")
    runs = plan(request, LoadedModel.load(request))
    outcome = Sweep(Workspace(tmp_path)).execute(runs)
    assert not outcome.failed
    (absent,) = outcome.not_applicable
    stored = Store(tmp_path / "results").get(absent)
    assert stored is not None
    assert stored.status == "not applicable"
    assert stored.error == "qvggt: Pi3 has no camera tokens to compensate; preset no-token goes without"
    assert [result.status for result in outcome.results] == ["not applicable", "ok"]
    assert Sweep(Workspace(tmp_path)).execute(runs).computed == 0, "it is not tried again"
