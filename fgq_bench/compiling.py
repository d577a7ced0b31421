"""Compile a float model with a method: the artefact, made once, saved, and always used as loaded."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.files import write_atomically
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.planning import Run
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quantizers.base import Job
from fgq_bench.registry import Method
from fgq_bench.results import content_key


def compile_model(
    method: Method, model: ReconstructionModel, scheme: Scheme, scope: str, seed: int, header: dict[str, object]
) -> QuantizedModel:
    """Quantize ``model`` in memory; ``header`` is stored in the product."""
    targets = [] if scheme.is_float else target_linears(model, scope)
    return method.quantizer().quantize(Job(model, targets, scheme, seed, header))


def artifact_path(folder: Path, run: Run) -> Path:
    """File of a run's quantized model."""
    conditions = run.compilation()
    name = f"{run.method.label.replace(':', '+')}-{run.scheme}-{content_key(conditions)[:12]}.safetensors"
    return folder / run.loaded.spec.name / name


def compiled(folder: Path, run: Run) -> QuantizedModel:
    """The run's quantized model, read from ``folder``; compiled and saved first if it is not there."""
    path = artifact_path(folder, run)
    if not path.is_file():
        made = compile_model(run.method, run.loaded.model, run.scheme, run.scope, run.seed, run.compilation())
        write_atomically(path, made.save)
    return QuantizedModel.load(path)
