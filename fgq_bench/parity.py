"""Does a backend compute what the definition of truth computes? Layer by layer on equal inputs, and end to end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fgq_bench.kernels.kernel import IntegerKernel, Kernel, centred_weight
from fgq_bench.kernels.placement import install, seat
from fgq_bench.kernels.reference import execute, input_codes
from fgq_bench.kernels.registry import Backend
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.predictions import predict
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear, quantized_linears
from fgq_bench.tasks.agreement import Agreement

COMPARED = ("rotation", "depth")  # of the agreement task


@dataclass(frozen=True)
class LayerParity:
    """One layer on the inputs that it meets in a real pass; shares are 0-1, None where the kernel has no codes."""

    layer: str
    kernel: str
    codes: float | None  # share of input codes that differ from the reference's
    sums: float | None  # share of integer sums of its codes that differ from the exact ones, in the sums' own dtype
    output: float  # largest difference between outputs, over the largest output


@dataclass(frozen=True)
class SequenceParity:
    """Difference of the backend from ``reference`` over that of ``reference`` from float, per measure, one sequence."""

    sequence: str
    ratios: dict[str, float]


@torch.inference_mode()
def layer_parity(
    quantized: QuantizedModel, model: ReconstructionModel, images: Tensor, backend: Backend, compute_dtype: str
) -> Iterator[LayerParity]:
    """Every layer that ``backend`` takes, on its inputs in one reference pass over ``images`` [1, S, 3, H, W]."""
    exact = quantized.install(model, execute)
    kernels = backend.load(model.device.type)
    found: list[LayerParity] = []

    def watch(name: str, linear: QuantLinear) -> None:
        def hook(module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            kernel, how = seat(linear, kernels)
            if isinstance(kernel, Kernel):
                found.append(_compare(name, how.kernel, kernel, linear, inputs[0], output))

        linear.register_forward_hook(hook)

    for name, linear in quantized_linears(exact, "").items():
        watch(name, linear)
    with evaluation_precision(model.device, compute_dtype):
        exact.run_stages(exact.begin(images, dense=False))
    yield from found


def _compare(name: str, label: str, kernel: Kernel, linear: QuantLinear, x: Tensor, expected: Tensor) -> LayerParity:
    codes = sums = None
    if isinstance(kernel, IntegerKernel):
        with torch.autocast(x.device.type, enabled=False):
            ours = kernel.quantize(kernel.transformed(x), x.dtype)
            truth, _ = input_codes(linear.transformed(x.float()), linear)
            centre = ours.values.double() - kernel.offset_of_codes
            codes = (centre != truth.double()).double().mean().item()
            found = kernel.accumulate(ours)
            exact = torch.nn.functional.linear(centre, centred_weight(linear).double()).to(found.dtype)
            sums = (found != exact).double().mean().item()
    difference = (kernel(x).double() - expected.double()).abs().amax() / expected.double().abs().amax()
    return LayerParity(name, label, codes, sums, difference.item())


@torch.inference_mode()
def end_to_end(
    quantized: QuantizedModel, model: ReconstructionModel, scenes: Sequence[Scene], backend: Backend, compute_dtype: str
) -> Iterator[SequenceParity]:
    """Every scene by float model, ``reference`` and ``backend``."""
    exact = quantized.install(model, execute)
    fast, _ = install(quantized, model, backend)
    task = Agreement()
    for scene in scenes:
        plain, truth, ours = (predict(each, scene, compute_dtype, task.reads) for each in (model, exact, fast))
        of_backend, of_scheme = task.score(scene, ours, truth).values, task.score(scene, truth, plain).values
        yield SequenceParity(scene.sequence, {name: _over(of_backend[name], of_scheme[name]) for name in COMPARED})


def _over(difference: float, scale: float) -> float:
    """``difference`` / ``scale``; nothing over nothing is 0."""
    return difference / scale if scale else (math.inf if difference else 0.0)
