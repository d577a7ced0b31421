"""Caches and artefacts are told from what was stored: flipped bits, other names, foreign files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stored import scored, scored_conditions

from fgq_bench import api, compiling
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.compiling import artifact_path, compiled
from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import execute
from fgq_bench.models.checkpoints import load_model, model_hash, save_model
from fgq_bench.models.vggt import VGGT
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.predictions import PredictionCache, predict
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.results import Store
from fgq_bench.tasks.base import SequencePrediction
from fgq_bench.tensor_files import load_tensors, save_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7), "c": torch.zeros(0, dtype=torch.float16)}


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_what_is_stored_comes_back_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    assert load_tensors(path, "x") is None
    save_tensors(path, TENSORS, "x")
    found = load_tensors(path, "x")
    assert found is not None
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())
    assert load_tensors(path, "y") is None  # another's file under this name
    first = path.read_bytes()
    save_tensors(path, TENSORS, "x")
    assert path.read_bytes() == first


@pytest.mark.parametrize("place", range(8, 320, 11))
def test_any_flipped_bit_is_noticed(tmp_path: Path, place: int) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.arange(40.0)}, "x")
    padding = path.read_bytes()[place : place + 1] == b" "
    flip(path, place)
    found = load_tensors(path, "x")
    assert found is None or (padding and torch.equal(found["a"], torch.arange(40.0)))


@pytest.mark.parametrize("change", [lambda x: x.reshape(3, 2), lambda x: x.double(), lambda x: -x])
def test_shape_type_and_sign_count(tmp_path: Path, change: object) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.ones(2, 3)}, "x")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({"a": change(torch.ones(2, 3))}, path, metadata)  # type: ignore[operator]
    assert load_tensors(path, "x") is None


def test_files_from_before_there_were_hashes_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "old.safetensors")
    assert load_tensors(tmp_path / "old.safetensors", "anything") is not None


def test_a_damaged_or_misplaced_prediction_is_absent(tmp_path: Path) -> None:
    cache, keys = PredictionCache(tmp_path), ("ab" * 32, "cd" * 32)
    for key in keys:
        cache.put(key, SequencePrediction(torch.rand(2, 9)))
    paths = [path for key in keys if (path := cache.path(key)) is not None]
    assert cache.get(keys[0], frozenset({"pose_enc"})) is not None
    paths[0].write_bytes(paths[1].read_bytes())
    flip(paths[1])
    for key in keys:
        assert cache.get(key, frozenset({"pose_enc"})) is None
    save_file({"pose_enc": torch.rand(2, 9), "foreign": torch.ones(1)}, paths[0])
    assert cache.get(keys[0], frozenset({"pose_enc"})) is None


@pytest.mark.parametrize(
    "foreign",
    [
        SequencePrediction(torch.rand(2, 8)),
        SequencePrediction(torch.full((2, 9), torch.nan)),
        SequencePrediction(torch.rand(2, 9), torch.rand(3, 4, 4).half()),
        SequencePrediction(torch.rand(2, 9), torch.rand(4, 4).half()),
        SequencePrediction(torch.rand(0, 9)),
    ],
    ids=["eight numbers", "NaN", "another number of frames", "no frames", "none"],
)
def test_what_is_no_prediction_is_absent(tmp_path: Path, foreign: SequencePrediction) -> None:
    cache = PredictionCache(tmp_path)
    cache.put("ab" * 32, foreign)
    assert cache.get("ab" * 32, frozenset({"pose_enc"})) is None


def test_damaged_captured_tensors_are_absent(data: Calibration) -> None:
    data.keep("x", {"a": torch.ones(3)})
    path = next(data.folder.rglob("*.safetensors"))
    again = Calibration(data.model, "hash", data.clips, "float32", data.folder.parent)
    assert again.holds("x")
    flip(path)
    again = Calibration(data.model, "hash", data.clips, "float32", data.folder.parent)
    assert not again.holds("x")
    with pytest.raises(UserError, match="damaged or gone"):
        again.kept("x")
    assert again.obtain("x", lambda: {"a": torch.full((3,), 2.0)})["a"].tolist() == [2, 2, 2]


def test_infinity_may_be_kept_but_not_nan(data: Calibration) -> None:
    data.keep("x", {"a": torch.tensor([1.0, torch.inf])})  # a learned clip that is off
    with pytest.raises(UserError, match="calibration: a of x is not finite"):
        data.keep("x", {"a": torch.tensor([1.0, torch.nan])})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nothing_is_learnt_from_what_is_not_finite(data: Calibration, value: float) -> None:
    parameter = data.model.get_parameter("aggregator.frame_blocks.0.attn.qkv.bias")
    with torch.no_grad():
        parameter[0] = value
    with pytest.raises(UserError, match=r"^calibration: .* is not finite: weights or activations overflow$"):
        data.statistics("aggregator.frame_blocks.0.attn.proj", ["aggregator.frame_blocks.0.attn.proj"])


def test_a_damaged_artefact_is_refused(micro: VGGT, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    api.quantize(micro, "rtn", "w4a4").save(path)
    whole = path.read_bytes()
    for place in (-1, len(whole) // 2, whole.index(b"w4a4")):
        path.write_bytes(whole)
        flip(path, place)
        with pytest.raises(UserError, match=r"m\.safetensors: (damaged|not a)"):
            QuantizedModel.load(path)


def test_an_artefact_with_a_foreign_layer_is_one_line(micro: VGGT) -> None:
    made = api.quantize(micro, "rtn", "w4a4")
    made.linears["no.such.layer"] = next(iter(made.linears.values()))
    with pytest.raises(UserError, match=r"layer 'no\.such\.layer', which VGGT has not"):
        made.install(micro, execute)


def test_a_sweep_makes_damaged_and_foreign_artefacts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(["rtn"], ["w4a4", "w8a8"], ["procedural-objects"], limit=1)
    runs = plan(request, LoadedModel.load(request))
    paths = [artifact_path(tmp_path, run) for run in runs]
    for run in runs:
        compiled(tmp_path, tmp_path, run)
    whole = [path.read_bytes() for path in paths]
    flip(paths[0])
    paths[1].write_bytes(whole[0])  # sound, but another's
    for run in runs:
        compiled(tmp_path, tmp_path, run)
    assert [path.read_bytes() for path in paths] == whole
    monkeypatch.setattr(compiling, "compile_model", lambda *_: pytest.fail("compiled again"))
    for run in runs:
        compiled(tmp_path, tmp_path, run)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(micro: VGGT, tmp_path: Path, value: float) -> None:
    path = tmp_path / "bad.safetensors"
    micro.camera_head.pose_branch.fc2.bias[0] = value
    save_model(micro, path)
    with pytest.raises(UserError, match=r"bad\.safetensors: camera_head\.pose_branch\.fc2\.bias holds NaN or Inf"):
        load_model("vggt-tiny", str(path))


def test_a_prediction_that_is_no_number_fails_its_run_with_one_line(micro: VGGT) -> None:
    request = Request(["fp"], [], ["procedural-objects"], limit=1)
    run = plan(request, LoadedModel.load(request))[0]
    scene = run.dataset.load(run.dataset.sequences()[0])
    micro.camera_head.pose_branch.fc2.bias[0] = torch.nan
    with pytest.raises(UserError, match=rf"^sequence {scene.sequence}: pose_enc is predicted as NaN"):
        predict(micro, scene, "float32", frozenset({"pose_enc"}))


def test_a_damaged_result_is_made_again_but_never_shown(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), scored(scored_conditions(), [{"auc@30": 0.5}])
    store.put(cell, {"seconds": 1.0})
    path = tmp_path / cell.path()
    assert store.get(cell) is not None
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert store.get(cell) is None
    with pytest.raises(UserError, match="damaged, its content is not what was stored"):
        store.all()
    path.with_suffix(".meta.json").unlink()  # a store that was copied without: nothing says so
    assert store.all()[0].metrics["auc@30"]["value"] == 0.6


def test_a_result_is_of_its_conditions_and_has_its_name(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), scored(scored_conditions(), [{}])
    store.put(cell, {})
    path = tmp_path / cell.path()
    text = path.read_text()
    path.with_suffix(".meta.json").unlink()
    path.write_text(text.replace("w4a4", "w8a8"))
    with pytest.raises(UserError, match="'key' is not that of the conditions"):
        store.all()
    path.write_text(text)
    path.rename(path.with_name("other.json"))
    with pytest.raises(UserError, match=f"its name should be {path.name}"):
        store.all()


def test_another_weight_is_another_identity(micro: VGGT, tmp_path: Path) -> None:
    """A flipped bit in a checkpoint cannot be told, but nothing that was stored is taken for its own."""
    path = tmp_path / "m.safetensors"
    save_model(micro, path)
    before = model_hash(load_model("vggt-tiny", str(path)))
    flip(path, -2)
    assert model_hash(load_model("vggt-tiny", str(path))) != before
