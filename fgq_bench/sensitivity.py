"""Which parts of a network mind being quantized: one block, or one linear of it, at a time (QVGGT, section 3.2).

An error is a head's relative error |output - float output| / |float output| when that part alone is rounded to nearest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.stream import linears_inside
from fgq_bench.kernels.reference import execute
from fgq_bench.probing import ProbedStage, probe
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme

WHOLE = "all"  # the kind of a part that is a whole stage


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one part does to every head."""

    stage: str  # name of the block (or head)
    kind: str  # ``all``, or a linear's name within the stage
    errors: dict[str, float]  # relative error by task


def quantized_stage(stage: ProbedStage, linears: dict[str, QuantLinear]) -> nn.Module:
    """A copy of the stage's module with ``linears`` (by their full names) in place."""
    inner = {name.removeprefix(f"{stage.name}."): linear for name, linear in linears.items()}
    return QuantizedModel(inner, {}).install(stage.module, execute)


def measure(
    calibration: Calibration, targets: list[str], scheme: Scheme, clips: int, linears: bool
) -> Iterator[Sensitivity]:
    """Sensitivities of every stage that holds ``targets``, in the order of execution.

    Args:
        clips: probe clips.
        linears: also measure every linear by itself.
    """
    for stage in probe(calibration, clips):
        inside = linears_inside(stage.module, stage.name, targets)
        if not inside:
            continue
        rounded = {
            name: QuantLinear.from_float(linear.weight, linear.bias, scheme, name) for name, linear in inside.items()
        }
        yield Sensitivity(stage.name, WHOLE, stage.errors(quantized_stage(stage, rounded)))
        for name, linear in rounded.items() if linears else ():
            kind = name.removeprefix(f"{stage.name}.")
            yield Sensitivity(stage.name, kind, stage.errors(quantized_stage(stage, {name: linear})))


def most_sensitive(found: list[Sensitivity], task: str, count: int) -> list[str]:
    """Names of the ``count`` stages whose quantization harms ``task`` most, worst first."""
    whole = [each for each in found if each.kind == WHOLE]
    return [each.stage for each in sorted(whole, key=lambda each: -each.errors[task])[:count]]
