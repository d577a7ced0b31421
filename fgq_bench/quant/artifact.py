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

from fgq_bench.errors import UserError
from fgq_bench.models.interface import shared_copy
from fgq_bench.quant.linear import Executor, QuantLinear
from fgq_bench.quant.packing import pack, unpack
from fgq_bench.quant.scheme import Scheme

FORMAT = "fgq-bench/1"
ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclass
class QuantizedModel:
    """Quantized linears by name, changed float tensors, and a header that says how they were made.

    The float model is not part of it: ``install`` puts the parts into a copy of it. ``header`` holds plain JSON:
    method, scheme, scope, seed, model hash, calibration-manifest hash.
    """

    linears: dict[str, QuantLinear]
    header: dict[str, Any]
    overrides: dict[str, Tensor] = field(default_factory=dict)

    def install(self, model: ModelT, executor: Executor) -> ModelT:
        """A copy of ``model`` with the quantized linears in place, each run by ``executor``; ``model`` is untouched.

        Parameters that did not change are shared with ``model``, not copied.
        """
        result = shared_copy(model)
        device = next(model.parameters()).device
        for name, linear in self.linears.items():
            bound = QuantLinear(linear.scheme, linear.codes, linear.weight_scale, linear.weight_zero, linear.bias).to(
                device
            )
            bound.executor = executor
            parent, _, child = name.rpartition(".")
            setattr(result.get_submodule(parent), child, bound)
        for name, value in self.overrides.items():
            parent, _, child = name.rpartition(".")
            setattr(result.get_submodule(parent), child, nn.Parameter(value.to(device), requires_grad=False))
        return result

    def check_made_from(self, model_hash: str, path: str) -> None:
        """Raise UserError unless the header names the float model with this hash."""
        made_from = self.header.get("model", {}).get("hash", "")
        if made_from != model_hash:
            raise UserError(f"{path}: made from model {made_from[:12]}, not from this one ({model_hash[:12]})")

    def save(self, path: str | Path) -> None:
        """Write packed safetensors: ``<linear>.codes|weight_scale|weight_zero|bias``, ``overrides.*``, JSON header."""
        tensors: dict[str, Tensor] = {f"overrides.{name}": value for name, value in self.overrides.items()}
        layers = {}
        for name, linear in self.linears.items():
            layers[name] = {"scheme": str(linear.scheme), "shape": [linear.out_features, linear.in_features]}
            bits = linear.scheme.weight_bits
            tensors[f"{name}.codes"] = pack(linear.codes, bits) if linear.scheme.quantizes_weights else linear.codes
            for part in ("weight_scale", "weight_zero", "bias"):
                value = getattr(linear, part)
                if value is not None:
                    tensors[f"{name}.{part}"] = value
        # one metadata entry: safetensors writes several in random order, and equal models must be equal files
        metadata = {FORMAT: json.dumps({"header": self.header, "layers": layers}, sort_keys=True)}
        save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, path, metadata)

    @classmethod
    def load(cls, path: Path) -> QuantizedModel:
        """Read what ``save`` wrote; raises UserError for a missing, truncated or foreign file."""
        with _open(path) as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise UserError(f"{path}: not a quantized model of this project (no {FORMAT} metadata)")
            about = json.loads(metadata[FORMAT])
            linears = {name: _read_linear(file, name, layer) for name, layer in about["layers"].items()}
            names = [key for key in file.keys() if key.startswith("overrides.")]  # noqa: SIM118
            overrides = {name.removeprefix("overrides."): file.get_tensor(name) for name in names}
            return cls(linears, about["header"], overrides)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def _read_linear(file: Any, name: str, layer: dict[str, Any]) -> QuantLinear:
    scheme = Scheme.parse(layer["scheme"])
    present = set(file.keys())
    parts = {
        part: file.get_tensor(f"{name}.{part}") if f"{name}.{part}" in present else None
        for part in ("codes", "weight_scale", "weight_zero", "bias")
    }
    codes = parts["codes"]
    assert codes is not None
    if scheme.quantizes_weights:
        out_features, in_features = layer["shape"]
        codes = unpack(codes, scheme.weight_bits, (out_features, in_features))
    return QuantLinear(scheme, codes, parts["weight_scale"], parts["weight_zero"], parts["bias"])
