"""Put kernels in the place of a model's quantized linears, and say which one runs which layer, and why no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from fgq_bench.kernels.fusion import fuse_producers
from fgq_bench.kernels.joining import joined, same_transforms
from fgq_bench.kernels.kernel import IntegerKernel, Kernel, opaque
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
    """How every quantized linear of a model is executed.

    Attributes:
        quantisers: how many inputs are quantized to integers; fewer than seats where the parts of a qkv share one.
        fused: how many of them are, inside the layer before.
    """

    backend: str
    seats: dict[str, Seat]
    quantisers: int = 0
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
            "quantisers": {"fused": self.fused, "separate": self.quantisers - self.fused},
        }


class SplitKernel(nn.Module):
    """Three kernels on one input, outputs side by side, whose grids differ; a pass of transforms alone runs once."""

    def __init__(self, q: Kernel, k: Kernel, v: Kernel) -> None:
        super().__init__()
        self.q, self.k, self.v = q, k, v

    @opaque
    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [..., in] to [..., 3 * out]."""
        with torch.autocast(x.device.type, enabled=False):
            rows = self.q.transformed(x)
            return torch.cat([part.run(rows, x.dtype) for part in (self.q, self.k, self.v)], -1)


def seat(
    linear: QuantLinear, kernels: Sequence[type[Kernel]], left_out: Mapping[str, str] | None = None
) -> tuple[nn.Module, Seat]:
    """The module that runs ``linear``: the first kernel that takes it, or ``linear`` itself.

    ``left_out``: kernels that this machine cannot run, with the reason, to be told as well.
    """
    about = (linear.scheme.weight_bits, linear.codes.numel())
    reasons = dict(left_out or {})
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
    left_out = backend.left_out()
    result = quantized.install(model, execute)
    seats: dict[str, Seat] = {}
    for name, module in list(result.named_modules()):
        if isinstance(module, SplitLinear):
            fast, found = _seat_parts(module, kernels, left_out)
            seats |= {artefact_name(f"{name}.{part}"): each for part, each in found.items()}
        elif isinstance(module, QuantLinear) and artefact_name(name) not in seats:
            fast, seats[artefact_name(name)] = seat(module, kernels, left_out)
        else:
            continue
        result.set_submodule(name, fast)
    integer = [each for each in result.modules() if isinstance(each, IntegerKernel)]
    return result, Placement(backend.name, seats, len(integer), fuse_producers(result))


def _seat_parts(
    split: SplitLinear, kernels: Sequence[type[Kernel]], left_out: Mapping[str, str]
) -> tuple[nn.Module, dict[str, Seat]]:
    """One kernel for all parts where they quantise alike and it takes them, else one for each; seats by part."""
    parts = {part: getattr(split, part) for part in PARTS}
    whole = joined(list(parts.values()))
    if whole is not None:
        one, taken = seat(whole, kernels, left_out)
        if isinstance(one, Kernel):
            return one, {part: replace(taken, weights=linear.codes.numel()) for part, linear in parts.items()}
    seated = {part: seat(linear, kernels, left_out) for part, linear in parts.items()}
    modules = [module for module, _ in seated.values()]
    fast = [module for module in modules if isinstance(module, Kernel)]
    shared = len(fast) == len(modules) and all(_same_input(fast[0], each) for each in fast)
    how = {part: found for part, (_, found) in seated.items()}
    return (SplitKernel(*fast) if shared else SplitLinear(*modules)), how


def _same_input(first: Kernel, second: Kernel) -> bool:
    """Whether both take one transformed input: some kernels leave transforms to their quantisers."""
    same = type(first) is type(second) and first.scheme == second.scheme
    return same and same_transforms(first.transforms, second.transforms)
