"""The one product of every quantizer: a quantized model that can be saved, counted, loaded and run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fgq_bench.bounded import check_regular
from fgq_bench.documents import parse_json
from fgq_bench.errors import UserError
from fgq_bench.models.interface import ReconstructionModel, shared_copy
from fgq_bench.quant.linear import PARTS, Executor, QuantLinear, SplitLinear, fused_part
from fgq_bench.quant.packing import pack, unpack
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Transform, transform_from_tensors
from fgq_bench.tensor_files import DIGEST, tensors_digest

FORMAT = "fgq-bench/1"
TENSORS = ("codes", "weight_scale", "weight_zero", "bias", "act_clip", "act_scale", "act_zero")
FOREIGN = (AssertionError, AttributeError, IndexError, KeyError, RecursionError, RuntimeError, TypeError, ValueError)
ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclass
class QuantizedModel:
    """Quantized linears by name, changed float tensors, and a header that says how they were made.

    The float model is not part of it: ``install`` puts the parts into a copy of it. ``header`` holds plain JSON:
    method, scheme, scope, seed, model hash, calibration-manifest hash. ``camera_tokens`` [n, 2C] are shown to the
    camera head beside those of the frames.
    """

    linears: dict[str, QuantLinear]
    header: dict[str, Any]
    overrides: dict[str, Tensor] = field(default_factory=dict)
    camera_tokens: Tensor | None = None

    def install(self, model: ModelT, executor: Executor) -> ModelT:
        """A copy of ``model`` with the quantized linears in place, each run by ``executor``; ``model`` is untouched.

        Parameters that did not change are shared with ``model``, not copied.
        """
        result = shared_copy(model)
        device = next(model.parameters()).device
        memo: dict[int, Any] = {}
        bound = {name: linear.bound_to(executor, device, memo) for name, linear in self.linears.items()}
        fused = {part[0] for name in bound if (part := fused_part(name))}
        for name in fused:
            parent = name.rpartition(".")[0]
            bound[name] = SplitLinear(*(bound.pop(f"{parent}.{part}") for part in PARTS))  # type: ignore[assignment]
        for name, module in bound.items():
            _check_has(result, name)
            result.set_submodule(name, module)
        for name, value in self.overrides.items():
            parent, _, child = name.rpartition(".")
            _check_has(result, parent)
            setattr(result.get_submodule(parent), child, nn.Parameter(value.to(device), requires_grad=False))
        if self.camera_tokens is not None:
            assert isinstance(result, ReconstructionModel)
            result.add_camera_tokens(self.camera_tokens)
        return result

    def check_made_from(self, model_hash: str, path: str) -> None:
        """Raise UserError unless the header names the float model with this hash."""
        made_from = self.header.get("model", {}).get("hash", "")
        if made_from != model_hash:
            raise UserError(f"{path}: made from model {made_from[:12]}, not from this one ({model_hash[:12]})")

    def save(self, path: str | Path) -> None:
        """Write packed safetensors: ``<linear>.codes|weight_scale|weight_zero|bias|act_clip|act_scale|act_zero``
        (those that there are), ``<linear>.transform.*``, ``overrides.*``, ``camera_tokens``, JSON header.
        """
        tensors: dict[str, Tensor] = {f"overrides.{name}": value for name, value in self.overrides.items()}
        if self.camera_tokens is not None:
            tensors["camera_tokens"] = self.camera_tokens
        layers: dict[str, Any] = {}
        written: dict[int, str] = {}  # transforms that several linears share are written once
        for name, linear in self.linears.items():
            places = []
            for index, transform in enumerate(linear.transforms):
                assert isinstance(transform, Transform)
                place = written.setdefault(id(transform), f"{name}.transform.{index}")
                places.append({"kind": transform.kind, "at": place})
                tensors.update({f"{place}.{key}": value for key, value in transform.named_buffers()})
            shape = [linear.out_features, linear.in_features]
            layers[name] = {"scheme": str(linear.scheme), "shape": shape, "transforms": places}
            for part in TENSORS:
                value = getattr(linear, part)
                if value is not None:
                    tensors[f"{name}.{part}"] = value
            if linear.scheme.quantizes_weights:
                tensors[f"{name}.codes"] = pack(linear.codes, linear.scheme.weight_bits)
        # one metadata entry: safetensors writes several in random order, and equal models must be equal files
        about = {"header": self.header, "layers": layers}
        plain = {key: value.contiguous().cpu() for key, value in tensors.items()}
        digest = tensors_digest(sorted(plain.items()), json.dumps(about, sort_keys=True))
        save_file(plain, path, {FORMAT: json.dumps({**about, DIGEST: digest}, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> QuantizedModel:
        """Read what ``save`` wrote; raises UserError for a missing, truncated, damaged or foreign file."""
        with _open(path) as file:
            about = _about(file, path)
            keys = list(file.keys())
            _verify(file, about, path)
            shared: dict[str, Transform] = {}
            linears = {name: _read_linear(file, keys, name, layer, shared) for name, layer in about["layers"].items()}
            names = [key for key in keys if key.startswith("overrides.")]
            overrides = {name.removeprefix("overrides."): file.get_tensor(name) for name in names}
            camera_tokens = file.get_tensor("camera_tokens") if "camera_tokens" in keys else None
            return cls(linears, about["header"], overrides, camera_tokens)


def _check_has(model: nn.Module, name: str) -> None:
    try:
        model.get_submodule(name)
    except AttributeError:
        raise UserError(f"a quantized model with a layer {name!r}, which {type(model).__name__} has not") from None


def read_header(path: Path) -> dict[str, Any]:
    """The header of a saved model, without its tensors; raises UserError as ``QuantizedModel.load`` does."""
    with _open(path) as file:
        header: dict[str, Any] = _about(file, path)["header"]
        return header


def _about(file: Any, path: Path) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if FORMAT not in metadata:
        raise UserError(f"{path}: not a quantized model of this project (no {FORMAT} metadata)")
    about: dict[str, Any] = parse_json(metadata[FORMAT])
    if not {"header", "layers"} <= about.keys() <= {"header", "layers", DIGEST}:
        raise ValueError(f"keys {', '.join(about)}")
    return about


def _verify(file: Any, about: dict[str, Any], path: Path) -> None:
    """Raise UserError where the content is not what was written; files from before there were hashes have none."""
    stated, content = about.get(DIGEST), {key: about[key] for key in ("header", "layers")}
    tensors = ((key, file.get_tensor(key)) for key in sorted(file.keys()))
    if stated is not None and stated != tensors_digest(tensors, json.dumps(content, sort_keys=True)):
        raise UserError(f"{path}: damaged: its content is not what was written; make it again")


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        check_regular(path)
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    except FOREIGN as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{path}: not a quantized model of this project ({type(error).__name__}: {reason})") from None


def _read_linear(
    file: Any, keys: list[str], name: str, layer: dict[str, Any], shared: dict[str, Transform]
) -> QuantLinear:
    scheme = Scheme.parse(layer["scheme"])
    parts = {part: file.get_tensor(f"{name}.{part}") if f"{name}.{part}" in keys else None for part in TENSORS}
    codes = parts.pop("codes")
    assert codes is not None
    if scheme.quantizes_weights:
        out_features, in_features = layer["shape"]
        codes = unpack(codes, scheme.weight_bits, (out_features, in_features))
    for place in layer["transforms"]:
        if place["at"] not in shared:
            prefix = f"{place['at']}."
            tensors = {key.removeprefix(prefix): file.get_tensor(key) for key in keys if key.startswith(prefix)}
            shared[place["at"]] = transform_from_tensors(place["kind"], tensors)
    transforms = [shared[place["at"]] for place in layer["transforms"]]
    return QuantLinear(scheme, codes, **parts, transforms=transforms)
