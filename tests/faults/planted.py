"""Planted artefacts: the header and the hash are right, the layers are not those that the header states."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.tensor_files import DIGEST, tensors_digest
from tests.faults.outcome import Row
from tests.faults.sweep import Sweep

Change = Callable[[dict[str, Tensor], dict[str, Any]], None]
EVALUATE = ("-d", "procedural-rooms", "-t", "pose", "--limit", "1")


def _other_scheme(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    for layer in layers.values():
        layer["scheme"] = "w4a16"


def _no_layers(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    tensors.clear()
    tensors["overrides.camera_token"] = torch.zeros(1)
    layers.clear()


def _one_layer_less(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    name = next(iter(layers))
    for key in [key for key in tensors if key.startswith(f"{name}.")]:
        del tensors[key]
    del layers[name]


def _no_scale(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    del tensors[f"{next(iter(layers))}.weight_scale"]


def _scale_of_nan(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    tensors[f"{next(iter(layers))}.weight_scale"].fill_(torch.nan)


def _short_scale(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    key = f"{next(iter(layers))}.weight_scale"
    tensors[key] = tensors[key].reshape(-1)[:3].clone()


def _unknown_layer(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    name = next(iter(layers))
    for key in [key for key in tensors if key.startswith(f"{name}.")]:
        tensors[f"nowhere.{key.removeprefix(f'{name}.')}"] = tensors.pop(key)
    layers["nowhere"] = layers.pop(name)


def _endless_layer(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    next(iter(layers.values()))["shape"] = [10**9, 10**9]


def _override_of_nan(tensors: dict[str, Tensor], layers: dict[str, Any]) -> None:
    tensors["overrides.aggregator.camera_token"] = torch.full((1, 2, 1, 192), torch.nan)


CHANGES: tuple[Change, ...] = (
    _other_scheme, _no_layers, _one_layer_less, _no_scale, _scale_of_nan, _short_scale, _unknown_layer, _endless_layer,
    _override_of_nan,
)  # fmt: skip


def plant(path: Path, change: Change) -> None:
    """Change an artefact, and state the hash of what it is then."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        ((entry, text),) = file.metadata().items()
    about = json.loads(text)
    change(tensors, about["layers"])
    content = json.dumps({key: value for key, value in about.items() if key != DIGEST}, sort_keys=True)
    about[DIGEST] = tensors_digest(sorted(tensors.items()), content)
    save_file(tensors, path, {entry: json.dumps(about, sort_keys=True)})


def planted(sweep: Sweep) -> list[Row]:
    """Each of them in a store that is resumed, and given to ``evaluate``."""
    source = next((sweep.folder / "undisturbed" / "artifacts").rglob("rtn-*.safetensors"))
    _check_planting(sweep.folder / "sound.safetensors", source)
    stored = Row("planted artefact in a store", "made again: the undisturbed store")
    given = Row("planted artefact given to evaluate", "refused in one line")
    for change in CHANGES:
        name = change.__name__.strip("_")
        output, path = sweep.folder / f"planted-{name}", sweep.folder / f"{name}.safetensors"
        shutil.copytree(sweep.folder / "undisturbed", output)
        shutil.rmtree(output / "results")
        shutil.rmtree(output / "cache" / "predictions")
        plant(output / source.relative_to(sweep.folder / "undisturbed"), change)
        stored.judge("made again", [f"{name}: {problem}" for problem in sweep.finish(output)])
        shutil.copyfile(source, path)
        plant(path, change)
        ended = sweep.command(["evaluate", str(path), *EVALUATE]).wait()
        problems = ended.problems or ([] if ended.code == 2 else [f"exit code {ended.code}, not 2"])
        given.judge("refused", [f"{name}: {problem}" for problem in problems])
    return [stored, given]


def _check_planting(path: Path, source: Path) -> None:
    """Raise UserError where even an unchanged artefact would be told from a sound one: then nothing is tried here."""
    shutil.copyfile(source, path)
    plant(path, lambda tensors, layers: None)
    if QuantizedModel.load(path).header != QuantizedModel.load(source).header:
        raise UserError("planted artefacts are not written as the project writes them")
