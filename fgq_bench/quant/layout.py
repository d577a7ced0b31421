"""What an artefact's file must hold: its JSON header as a schema, and from that the type and shape of every tensor.

``None`` in a shape stands for any length above 0. What the float model must have, ``fitting`` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.quant.grid import code_range
from fgq_bench.quant.header import Header, SchemeText
from fgq_bench.quant.packing import packed_bytes
from fgq_bench.quant.scheme import Scheme
from fgq_bench.schema import Schema, Size

FLOATS = (torch.float32, torch.float64)  # linears count in at least fp32


@dataclass(frozen=True)
class Expected:
    """A tensor that a file may hold, or must."""

    dtypes: tuple[torch.dtype, ...]
    shape: tuple[int | None, ...] | None  # None: any
    needed: bool = True
    positive: bool = False  # a scale
    within: tuple[int, int] | None = None  # lowest and highest value

    def fault(self, value: Tensor) -> str | None:
        """What is wrong with ``value``; None: nothing."""
        if value.dtype not in self.dtypes:
            return f"{_name(value.dtype)} instead of {' or '.join(map(_name, self.dtypes))}"
        if self.shape is not None and not _has_shape(value, self.shape):
            shape = ", ".join("any" if length is None else str(length) for length in self.shape)
            return f"shape {list(value.shape)} instead of [{shape}]"
        if value.is_floating_point() and not value.isfinite().all():
            return "NaN or Inf"
        if self.within is not None and not ((value >= self.within[0]) & (value <= self.within[1])).all():
            return f"a value outside {self.within[0]} to {self.within[1]}"
        return "a scale that is not above 0" if self.positive and not (value > 0).all() else None


def _has_shape(value: Tensor, shape: tuple[int | None, ...]) -> bool:
    fits = (got == want or (want is None and got > 0) for want, got in zip(shape, value.shape, strict=False))
    return value.ndim == len(shape) and all(fits)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _two(shape: list[int]) -> list[int]:
    if len(shape) != 2:
        raise ValueError("[outputs, inputs] are expected")
    return shape


class Place(Schema):
    """A transform of a layer's input and where its tensors lie: several layers may share them."""

    kind: Literal["diagonal", "hadamard", "kronecker"]
    at: str


class Layer(Schema):
    """A quantized linear."""

    scheme: SchemeText
    shape: Annotated[list[Size], AfterValidator(_two)]
    transforms: list[Place]


class About(Schema):
    """The JSON in an artefact's metadata."""

    header: Header
    layers: dict[str, Layer]
    sha256: str = ""  # not in files from before there were hashes


BESIDE = {
    "overrides.": Expected((*FLOATS, torch.float16, torch.bfloat16), None),
    "camera_tokens": Expected(FLOATS, (None, None)),
}
"""Tensors that belong to no layer, by the beginning of their key."""


def check_layers(about: About, path: object) -> None:
    """Raise UserError, with file and layer, where the layers are not at the schemes that the header says."""
    header = about.header
    stated = {Scheme.parse(text) for text in (header.scheme, *header.other_schemes)}
    for name, layer in about.layers.items():
        if Scheme.parse(layer.scheme) not in stated:
            texts = " or ".join(sorted(map(str, stated)))
            raise UserError(f"{path}: key 'layers.{name}.scheme': {layer.scheme}, but the header says {texts}")
    if not about.layers and not Scheme.parse(header.scheme).is_float:
        raise UserError(f"{path}: key 'layers': there is none, but the header says {header.scheme}")


def check_tensors(about: About, tensors: Mapping[str, Tensor], path: object) -> None:
    """Raise UserError, with file and tensor, where one is missing, foreign, or not what its layer needs."""
    expected = {
        f"{prefix}.{part}": each
        for name, layer in about.layers.items()
        for prefix, parts in _owners(name, layer)
        for part, each in parts.items()
    }
    if missing := [key for key, each in expected.items() if each.needed and key not in tensors]:
        raise UserError(f"{path}: tensor {missing[0]!r} is missing")
    for key, value in tensors.items():
        wanted = expected.get(key) or next((each for prefix, each in BESIDE.items() if key.startswith(prefix)), None)
        fault = "it is part of no layer" if wanted is None else wanted.fault(value)
        if fault is not None:
            raise UserError(f"{path}: tensor {key!r}: {fault}")


def _owners(name: str, layer: Layer) -> Iterator[tuple[str, dict[str, Expected]]]:
    """A layer and its transforms: beginnings of keys, with the tensors by the rest of the key."""
    yield name, _parts(name, layer)
    for place in layer.transforms:
        yield place.at, BUFFERS[place.kind]


def _parts(name: str, layer: Layer) -> dict[str, Expected]:
    scheme, (out, width) = Scheme.parse(layer.scheme), layer.shape
    found = {"bias": Expected(FLOATS, (out,), needed=False)}
    if scheme.quantizes_weights:
        groups = scheme.groups_of(width, name)
        found["codes"] = Expected((torch.uint8,), (packed_bytes(out * width, scheme.weight_bits),))
        found["weight_scale"] = Expected((torch.float32,), (out, groups), positive=True)
        if scheme.weight_asymmetric:
            found["weight_zero"] = Expected((torch.int8,), (out, groups), within=code_range(scheme.weight_bits))
    else:
        found["codes"] = Expected(FLOATS, (out, width))
    if scheme.has_static_inputs:
        positions = 1 if scheme.activation_per_tensor else None
        found["act_scale"] = Expected((torch.float32,), (positions,), positive=True)
        if scheme.activation_asymmetric:
            found["act_zero"] = Expected((torch.int8,), (positions,), within=code_range(scheme.activation_bits))
    elif scheme.quantizes_activations:
        found["act_clip"] = Expected(FLOATS, (2,), needed=False)
    return found


BUFFERS = {
    "diagonal": {"scale": Expected((torch.float32,), (None,))},
    "hadamard": {"signs": Expected((torch.int8,), (None,), within=(-1, 1))},
    "kronecker": {side: Expected((torch.float16,), (None, None), needed=False) for side in ("left", "right")},
}
"""Tensors of a transform by its kind; whether they fit the layer, the transform itself says (``misfit``)."""
