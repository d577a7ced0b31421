"""Put kernels in the place of a model's quantized linears, and say which one runs which layer, and why no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fgq_bench.kernels.fusion import fuse_producers
from fgq_bench.kernels.kernel import Kernel
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import Backend
from fgq_bench.quant.artifact import ModelT, QuantizedModel
from fgq_bench.quant.linear import PARTS, QuantLinear, SplitLinear, artefact_name, fused_part

REFERENCE = "reference"


@dataclass(frozen=True)
class Seat:
    """How one quantized linear is executed."""

    kernel: str  # "reference" where none takes it
    integer: bool  # whether codes are multiplied as integers
    weight_bits: int
    weights: int  # how many
    reasons: dict[str, str] = field(default_factory=dict)  # kernel -> why it does not


@dataclass(frozen=True)
class Placement:
    """How every quantized linear of a model is executed; ``fused`` counts quantisers inside the layer before."""

    backend: str
    seats: dict[str, Seat]
    fused: int = 0

    def summary(self, flops: Mapping[str, float]) -> dict[str, Any]:
        """Plain values for a result: shares of layers, packed weight bytes and FLOPs that run as integers, layers by
        kernel, refusals by reason, quantisers by kind.

        Args:
            flops: of one pass, by linear of the float model (``models.workload.linear_flops``).
        """
        sizes = {name: seat.weights * seat.weight_bits / 8 for name, seat in self.seats.items()}
        work = {name: flops[part[0]] / len(PARTS) if (part := fused_part(name)) else flops[name] for name in self.seats}
        weights = {"layers": dict.fromkeys(self.seats, 1.0), "bytes": sizes, "flops": work}
        integer = [name for name, seat in self.seats.items() if seat.integer]
        return {
            "backend": self.backend,
            "integer": {
                what: sum(each[name] for name in integer) / max(sum(each[name] for name in self.seats), 1e-9)
                for what, each in weights.items()
            },
            "kernels": dict(Counter(seat.kernel for seat in self.seats.values())),
            "refusals": dict(Counter(f"{k}: {why}" for seat in self.seats.values() for k, why in seat.reasons.items())),
            "quantisers": {"fused": self.fused, "separate": len(integer) - self.fused},
        }


class SplitKernel(nn.Module):
    """Three kernels on one input, outputs side by side; transforms that are a pass of their own run once."""

    def __init__(self, parts: Sequence[Kernel]) -> None:
        super().__init__()
        self.q, self.k, self.v = parts

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [..., in] to [..., 3 * out]."""
        with torch.autocast(x.device.type, enabled=False):
            rows = self.q.transformed(x)
            return torch.cat([part.run(rows, x.dtype) for part in (self.q, self.k, self.v)], -1)


def seat(linear: QuantLinear, kernels: Sequence[type[Kernel]]) -> tuple[nn.Module, Seat]:
    """The module that runs ``linear``: the first kernel that takes it, or ``linear`` itself."""
    about = (linear.scheme.weight_bits, linear.codes.numel())
    reasons: dict[str, str] = {}
    for kernel in kernels:
        why = kernel.refusal(linear)
        if why is None:
            return kernel(linear), Seat(kernel.name, kernel.integer, *about, reasons)
        reasons[kernel.name] = why
    return linear, Seat(REFERENCE, False, *about, reasons)


def install(quantized: QuantizedModel, model: ModelT, backend: Backend) -> tuple[ModelT, Placement]:
    """A copy of ``model`` (left untouched) that runs ``quantized`` on ``backend``.

    Raises:
        UserError: this machine cannot run the backend, or the backend is for another device than the model's.
    """
    kernels = backend.load(next(model.parameters()).device.type)
    result = quantized.install(model, execute)
    seats: dict[str, Seat] = {}
    for name, module in list(result.named_modules()):
        if isinstance(module, QuantLinear):
            fast, seats[artefact_name(name)] = seat(module, kernels)
            result.set_submodule(name, fast)
    _join_splits(result)
    return result, Placement(backend.name, seats, fuse_producers(result))


def _join_splits(model: nn.Module) -> None:
    """Parts of a split ``qkv`` that share their transforms get a ``SplitKernel``."""
    for name, module in list(model.named_modules()):
        if not isinstance(module, SplitLinear):
            continue
        parts = [getattr(module, part) for part in PARTS]
        if all(isinstance(part, Kernel) for part in parts) and all(_same(parts[0], part) for part in parts[1:]):
            model.set_submodule(name, SplitKernel(parts))


def _same(first: Kernel, second: Kernel) -> bool:
    """Whether both take one transformed input: some kernels leave transforms to their quantisers."""
    transforms = [[id(each) for each in kernel.transforms] for kernel in (first, second)]
    return type(first) is type(second) and str(first.scheme) == str(second.scheme) and transforms[0] == transforms[1]
