"""Artefacts with a valid hash and foreign contents: refused in one line with file and key, made again by a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench import api, compiling
from fgq_bench.compiling import artifact_path, compiled
from fgq_bench.errors import UserError
from fgq_bench.models.vggt import VGGT
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.quant.artifact import FORMAT, QuantizedModel
from fgq_bench.tensor_files import DIGEST, tensors_digest

Parts = dict[str, Tensor]
Change = Callable[[Parts, dict[str, Any]], object]
LINEAR = "aggregator.frame_blocks.0.attn.proj"


def rewrite(path: Path, change: Change) -> None:
    """Change an artefact's tensors and JSON, and give it the hash of what it holds then."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[FORMAT])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    about.pop(DIGEST)
    change(tensors, about)
    digest = tensors_digest(sorted(tensors.items()), json.dumps(about, sort_keys=True))
    save_file(tensors, path, {FORMAT: json.dumps({**about, DIGEST: digest}, sort_keys=True)})


def put(key: str, value: Callable[[Tensor], Tensor]) -> Change:
    return lambda tensors, _: tensors.update({key: value(tensors[key])})


def filled(value: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.full_like(tensor, value)


def header(**changes: Any) -> Change:
    return lambda _, about: about["header"].update(changes)


def layer(**changes: Any) -> Change:
    return lambda _, about: about["layers"][LINEAR].update(changes)


def no_layers(tensors: Parts, about: dict[str, Any]) -> None:
    tensors.clear()
    about["layers"].clear()


CRAFTED: list[tuple[Change, str]] = [
    (header(scheme="w4a16"), r"key 'layers\..*\.scheme': w4a4, but the header says w4a16"),
    (layer(scheme="w4a16"), rf"key 'layers\.{LINEAR}\.scheme': w4a16, but the header says w4a4"),
    (no_layers, r"key 'layers': there is none, but the header says w4a4"),
    (lambda tensors, _: tensors.pop(f"{LINEAR}.weight_scale"), rf"tensor '{LINEAR}\.weight_scale' is missing"),
    (lambda tensors, _: tensors.pop(f"{LINEAR}.codes"), rf"tensor '{LINEAR}\.codes' is missing"),
    (lambda tensors, _: tensors.update(x=torch.ones(1)), r"tensor 'x': it is part of no layer"),
    (put(f"{LINEAR}.weight_scale", filled(torch.nan)), rf"'{LINEAR}\.weight_scale': NaN or Inf"),
    (put(f"{LINEAR}.weight_scale", filled(0.0)), rf"'{LINEAR}\.weight_scale': a scale that is not above 0"),
    (put(f"{LINEAR}.weight_scale", Tensor.half), rf"'{LINEAR}\.weight_scale': float16 instead of float32"),
    (put(f"{LINEAR}.weight_scale", lambda t: t[1:]), r"weight_scale': shape \[47, 1\] instead of \[48, 1\]"),
    (put(f"{LINEAR}.codes", lambda t: t[:-1]), r"codes': shape \[1151\] instead of \[1152\]"),
    (put(f"{LINEAR}.bias", filled(torch.inf)), rf"'{LINEAR}\.bias': NaN or Inf"),
    (put(f"{LINEAR}.transform.0.signs", filled(0)), r"tensors '\S*transform.0': no transform of layer .*: a sign is 0"),
    (put(f"{LINEAR}.transform.0.signs", filled(3)), r"signs': a value outside -1 to 1"),
    (put(f"{LINEAR}.transform.0.signs", lambda t: t[:24]), r"24 signs for 48 inputs"),
    (layer(transforms=[{"kind": "svd", "at": "x"}]), r"key 'layers\..*\.transforms\.0\.kind': Input should be"),
    (layer(shape=[48]), r"shape': \[outputs, inputs\] are expected"),
    (layer(shape=[10**18, 48]), r"shape \[48\] instead of"),
    (header(scheme="w4a4\n"), r"key 'header\.scheme': scheme 'w4a4\\n' is not of the form"),
    (header(seed=None), r"key 'header\.seed'"),
    (header(model={}), r"key 'header\.model\.hash': Field required"),
    (lambda _, about: about.update(more=1), r"key 'more': Extra inputs are not permitted"),
    (lambda tensors, _: tensors.update(camera_tokens=torch.ones(3)), r"'camera_tokens': shape \[3\] instead of"),
    (lambda tensors, _: tensors.update({"overrides.x": torch.ones(1).int()}), r"'overrides\.x': int32 instead of"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, micro_config: Any) -> tuple[VGGT, bytes]:
    torch.manual_seed(0)
    model = VGGT(micro_config).eval().requires_grad_(False)
    path = tmp_path_factory.mktemp("made") / "m.safetensors"
    api.quantize(model, "quarot", "w4a4").save(path)
    return model, path.read_bytes()


@pytest.mark.parametrize(("change", "message"), CRAFTED, ids=[message for _, message in CRAFTED])
def test_a_crafted_artefact_is_refused_in_one_line_with_file_and_key(
    made: tuple[VGGT, bytes], tmp_path: Path, change: Change, message: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(made[1])
    QuantizedModel.load(path)
    rewrite(path, change)
    with pytest.raises(UserError, match=message) as caught:
        QuantizedModel.load(path)
    assert str(caught.value).startswith(str(path)) and str(caught.value).isprintable()


def drop(tensors: Parts, about: dict[str, Any]) -> None:
    about["layers"].pop(LINEAR)
    for key in [key for key in tensors if key.startswith(f"{LINEAR}.")]:
        del tensors[key]


def rename(tensors: Parts, about: dict[str, Any]) -> None:
    about["layers"]["no.such.layer"] = about["layers"].pop(LINEAR)
    for key in [key for key in tensors if key.startswith(f"{LINEAR}.") and "transform" not in key]:
        tensors[key.replace(LINEAR, "no.such.layer")] = tensors.pop(key)


def widen(tensors: Parts, about: dict[str, Any]) -> None:
    about["layers"][LINEAR]["shape"] = [96, 48]
    for part in ("codes", "weight_scale", "bias"):
        tensors[f"{LINEAR}.{part}"] = torch.cat([tensors[f"{LINEAR}.{part}"]] * 2)


UNFIT: list[tuple[Change, str]] = [
    (drop, rf"layer '{LINEAR}' of scope aa is missing"),
    (rename, r"layer 'no\.such\.layer' is none of scope aa of VGGT"),
    (widen, rf"layer '{LINEAR}': 96 x 48, the model has 48 x 48"),
    (header(scope="ab"), r"key 'header\.scope': 'ab' is none of aa, "),
    (lambda t, _: t.update({"overrides.x": torch.ones(1)}), r"override 'x' \[1\]: VGGT has no such parameter"),
    (lambda t, _: t.update({"overrides.aggregator.frame_blocks.0.norm1.weight": torch.ones(1)}), r"VGGT has \[48\] there"),
    (lambda t, _: t.update(camera_tokens=torch.ones(1, 3)), r"'camera_tokens': 3 channels, the model has 96"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), UNFIT, ids=[message for _, message in UNFIT])
def test_what_does_not_fit_the_network_is_refused(
    made: tuple[VGGT, bytes], tmp_path: Path, change: Change, message: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(made[1])
    api.load_quantized(path, made[0])
    rewrite(path, change)
    with pytest.raises(UserError, match=message) as caught:
        api.load_quantized(path, made[0])
    assert str(caught.value).startswith(str(path)) and str(caught.value).isprintable()


def mixed(tensors: Parts, about: dict[str, Any]) -> None:
    """Every layer at another scheme, and a header that admits it."""
    about["header"]["other_schemes"] = ["w4a16"]
    for each in about["layers"].values():
        each["scheme"] = "w4a16"


def float_targets(tensors: Parts, about: dict[str, Any]) -> None:
    drop(tensors, about)
    about["header"]["float_targets"] = [LINEAR]


@pytest.mark.parametrize("change", [mixed, float_targets, drop, layer(scheme="w4a16")], ids=str)
def test_a_sweep_makes_planted_artefacts_again(
    tmp_path: Path, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    """RTN does not mix schemes and leaves nothing out: its key would stand for something else."""
    request = Request(["rtn"], ["w4a4"], ["procedural-objects"], limit=1)
    (run,) = plan(request, LoadedModel.load(request))
    compiled(tmp_path, tmp_path, run)
    path = artifact_path(tmp_path, run)
    whole = path.read_bytes()
    rewrite(path, change)
    compiled(tmp_path, tmp_path, run)
    assert path.read_bytes() == whole
    assert f"{path}: " in caplog.text and "made again" in caplog.text


def test_a_method_that_is_not_what_it_says_is_refused(micro: VGGT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "target_linears", lambda model, scope: [LINEAR, "camera_head.pose_branch.fc1"])
    made = api.quantize(micro, "rtn", "w4a4")
    assert set(made.linears) == {LINEAR, "camera_head.pose_branch.fc1"}
    monkeypatch.setattr("fgq_bench.quantizers.rtn.RTN.quantize", lambda self, job: job.product({}))
    with pytest.raises(UserError, match=r"method rtn: its linears have .*float_targets.*says uniform"):
        api.quantize(micro, "rtn", "w4a4")
