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
from fgq_bench.quant.layout import About, Layer, check_layers, check_tensors
from fgq_bench.quant.linear import PARTS, Executor, QuantLinear, SplitLinear, fused_part
from fgq_bench.quant.packing import pack, unpack
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Transform, transform_from_tensors
from fgq_bench.schema import check
from fgq_bench.tensor_files import DIGEST, tensors_digest

FORMAT = "fgq-bench/1"
TENSORS = ("codes", "weight_scale", "weight_zero", "bias", "act_clip", "act_scale", "act_zero")
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
        made_from = self.header["model"]["hash"]
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
        check(About, about, "a quantized model that is to be saved")
        plain = {key: value.contiguous().cpu() for key, value in tensors.items()}
        digest = tensors_digest(sorted(plain.items()), json.dumps(about, sort_keys=True))
        save_file(plain, path, {FORMAT: json.dumps({**about, DIGEST: digest}, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> QuantizedModel:
        """Read what ``save`` wrote; raises UserError, with file and key, for a missing, truncated, damaged or foreign
        file, and for one whose layers are not what its header says.

        Whether it fits a float model, ``fitting.check_fits`` says.
        """
        with _open(path) as file:
            content = _about(file, path)
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
        about = About.model_validate(content)
        _verify(content, tensors, path)
        check_layers(about, path)
        check_tensors(about, tensors, path)
        shared: dict[str, Transform] = {}
        linears = {name: _linear(path, tensors, name, layer, shared) for name, layer in about.layers.items()}
        prefix = "overrides."
        overrides = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        return cls(linears, content["header"], overrides, tensors.get("camera_tokens"))


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


def _about(file: Any, path: Path) -> dict[str, Any]:
    """The JSON in the metadata, as ``About`` declares it."""
    text = (file.metadata() or {}).get(FORMAT)
    if text is None:
        raise UserError(f"{path}: not a quantized model of this project (no {FORMAT} metadata)")
    try:
        content: dict[str, Any] = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path}: not a quantized model of this project ({error})") from None
    check(About, content, f"{path}: not a quantized model of this project")
    return content


def _verify(content: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
    """Raise UserError where the content is not what was written; files from before there were hashes have none."""
    about = json.dumps({key: content[key] for key in ("header", "layers")}, sort_keys=True)
    if content.get(DIGEST) not in (None, tensors_digest(tensors.items(), about)):
        raise UserError(f"{path}: damaged: its content is not what was written; make it again")


def _linear(
    path: Path, tensors: dict[str, Tensor], name: str, layer: Layer, shared: dict[str, Transform]
) -> QuantLinear:
    """A layer whose tensors ``check_tensors`` has passed."""
    scheme, (out_features, in_features) = Scheme.parse(layer.scheme), layer.shape
    codes, *parts = (tensors.get(f"{name}.{part}") for part in TENSORS)
    assert codes is not None, "check_tensors has seen it"
    if scheme.quantizes_weights:
        codes = unpack(codes, scheme.weight_bits, (out_features, in_features))
    scale, zero, bias, clip, act_scale, act_zero = parts
    transforms = []
    for place in layer.transforms:
        if place.at not in shared:
            prefix = f"{place.at}."
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            shared[place.at] = transform_from_tensors(place.kind, own)
        transforms.append(shared[place.at])
        if (fault := transforms[-1].misfit(in_features)) is not None:
            raise UserError(f"{path}: tensors {place.at!r}: no transform of layer {name!r}: {fault}")
    return QuantLinear(scheme, codes, scale, zero, bias, clip, transforms, act_scale=act_scale, act_zero=act_zero)
