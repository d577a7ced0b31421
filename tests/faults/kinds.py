"""The kinds of files that are read, a sound one of each, and what reading it means."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.cards import DatasetCard, MethodCard, content_root, load_card, parse_card
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.frames import choose_frames, read_pinned, write_pinned
from fgq_bench.loaders.reading import read_picture
from fgq_bench.loaders.setting import Setting
from fgq_bench.models.checkpoint_files import check_entries, open_checkpoint
from fgq_bench.models.checkpoints import load_model, model_hash, save_model
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.predictions import PredictionCache
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.registry import find_method
from fgq_bench.results import Store
from fgq_bench.tasks.base import SequencePrediction
from tests.faults.inputs import Kind
from tests.faults.mutations import BYTES, JSON, TENSORS, TEXT

SMALL = VGGTConfig(
    dim=24, heads=2, depth=1, vit_depth=1, vit_heads=2, vit_grid=4, camera_depth=1, camera_heads=2, dpt_features=8,
    dpt_channels=(8, 8, 8, 8), dpt_levels=(0, 0, 0, 0), image_size=56,
)  # fmt: skip
KEY = "ab" * 32
FIELDS = frozenset({"pose_enc", "depth"})


def all_kinds(folder: Path, manifest: Path) -> list[Kind]:
    """One of every kind below ``folder``."""
    folder.mkdir()
    torch.manual_seed(0)
    save_model(VGGT(SMALL), folder / "small.safetensors")
    model = load_model("vggt-tiny", str(folder / "small.safetensors"))
    assert isinstance(model, VGGT)
    kinds = [_card(folder), *_checkpoints(folder, model), _artifact(folder, model), _prediction(folder)]
    kinds += [_captured(folder, model, manifest), *_results(folder), _manifest(folder, manifest), _frames(folder)]
    return kinds + _pictures(folder)


def _place(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    return folder / name


def _numbers(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: (str(value.dtype), value.tolist()) for name, value in tensors.items()}


def _card(folder: Path) -> Kind:
    path = _place(folder, "card") / "gptq.toml"
    shutil.copyfile(content_root() / "methods" / "gptq.toml", path)

    def read() -> Any:
        parse_card(MethodCard, path)
        method = find_method(str(path))
        method.quantizer()
        return method.identity()

    return Kind("method card", path, read, TEXT, keyed=True)


def _checkpoints(folder: Path, model: VGGT) -> list[Kind]:
    place, kinds = _place(folder, "checkpoint"), []
    save_model(model, place / "model.safetensors")
    torch.save(model.state_dict(), place / "pickled.pt")
    for path, mutations in ((place / "model.safetensors", TENSORS), (place / "pickled.pt", BYTES)):
        small = path.suffix == ".safetensors"  # only that states its sizes

        def read(path: Path = path, small: bool = small) -> Any:
            if small:
                return model_hash(load_model("vggt-tiny", str(path)))
            entries, _ = open_checkpoint(path)
            check_entries(path, entries, model.state_dict())
            return _numbers({name: entry.read() for name, entry in entries.items()})

        kinds.append(Kind(f"checkpoint ({path.suffix})", path, read, mutations, keyed=True))
    return kinds


def _artifact(folder: Path, model: VGGT) -> Kind:
    path = _place(folder, "artifact") / "w4a4.safetensors"
    api.quantize(model, "quarot", "w4a4", "aa+camera").save(path)

    def read() -> Any:
        made = QuantizedModel.load(path)
        parts = {
            f"{name}.{key}": value for name, each in made.linears.items() for key, value in each.state_dict().items()
        }
        return made.header, _numbers(parts), [str(each.scheme) for each in made.linears.values()]

    return Kind("artefact", path, read, TENSORS)


def _prediction(folder: Path) -> Kind:
    cache = PredictionCache(_place(folder, "predictions"))
    cache.put(KEY, SequencePrediction(torch.rand(2, 9), torch.rand(2, 14, 14).half()))
    path = cache.path(KEY)
    assert path is not None

    def read() -> Any:
        found = cache.get(KEY, FIELDS)
        return None if found is None else _numbers({name: getattr(found, name) for name in FIELDS})

    return Kind("cached prediction", path, read, TENSORS)


def _captured(folder: Path, model: VGGT, manifest: Path) -> Kind:
    clips, place, name = CalibrationClips(load_manifest(str(manifest)), {}), _place(folder, "captured"), "statistics/x"
    Calibration(model, "model", clips, "float32", place).keep(
        name, {"count": torch.ones(3), "hessian": torch.rand(8, 8)}
    )

    def read() -> Any:
        data = Calibration(model, "model", clips, "float32", place)
        return _numbers(data.kept(name)) if data.holds(name) else None

    return Kind("captured tensors", next(place.rglob("*.safetensors")), read, TENSORS)


def _results(folder: Path) -> list[Kind]:
    """A result, and what is written beside it: it is only read for its hash."""
    source = Store(content_root() / "reports" / "latest" / "results")
    result = source.read(next(path for path in sorted(source.root.rglob("*.json")) if "pose" in path.parts))
    store = Store(_place(folder, "results"))
    store.put(result, {"seconds": 1.0})
    path = store.root / result.path()

    def read() -> Any:
        again = store.get(result)
        assert again is None or store.all() == [again]
        return None if again is None else again.values()

    beside = Kind("file beside a result", path.with_suffix(".meta.json"), read, JSON)
    return [
        Kind("result", path, lambda: store.read(path).values(), JSON),
        Kind("result, resumed", path, read, JSON),
        beside,
    ]


def _manifest(folder: Path, manifest: Path) -> Kind:
    path = _place(folder, "manifest") / "two.json"
    shutil.copyfile(manifest, path)
    return Kind("calibration manifest", path, lambda: _opened(path), JSON)


def _opened(path: Path) -> Any:
    return CalibrationClips(load_manifest(str(path)), {}).manifest.hash


def _frames(folder: Path) -> Kind:
    card = load_card(DatasetCard, "folder")
    setting, path = Setting.of(card), _place(folder, "frames") / "folder.json"
    assert setting.entry is not None
    write_pinned(path, "folder", setting, choose_frames(setting.entry, {"a": ["0", "1", "2"], "b": ["0", "1", "2"]}))
    return Kind("frame list", path, lambda: read_pinned(path, setting), JSON)


def _pictures(folder: Path) -> list[Kind]:
    """A sequence of ``folder``, whose pictures are part of every key; one PNG, one JPEG."""
    kinds = []
    for ending in ("png", "jpg"):
        root = _place(folder, f"pictures-{ending}")
        place = root / "a"
        place.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (42, 56, 3), dtype=np.uint8)
        for number in range(2):
            Image.fromarray(noise + np.uint8(number)).save(place / f"{number}.{ending}")

        def read(root: Path = root, place: Path = place, ending: str = ending) -> Any:
            data = open_dataset(load_card(DatasetCard, "folder"), root)
            read_picture(place / f"1.{ending}")
            data.load("a")
            return data.source()["pictures"]

        kinds.append(Kind(f"picture (.{ending})", place / f"1.{ending}", read, BYTES, keyed=True))
    return kinds
