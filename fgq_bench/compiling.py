"""Compile a float model with a method: the artefact, made once, saved, and always used as loaded."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.ranges import calibrate_inputs
from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically, write_json
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.numerics import computed_on
from fgq_bench.planning import Run
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.fitting import check_fits, replaced
from fgq_bench.quant.header import FLOAT_TARGETS, OTHER_SCHEMES
from fgq_bench.quant.packing import packed_bytes
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quantizers.base import Job
from fgq_bench.registry import Method
from fgq_bench.results import COMPUTED_ON, content_key, noted_beside

_log = logging.getLogger(__name__)


def compile_model(
    method: Method,
    model: ReconstructionModel,
    scheme: Scheme,
    scope: str,
    seed: int,
    header: dict[str, object],
    calibration: Calibration | None,
) -> QuantizedModel:
    """Quantize ``model`` in memory; ``header`` is stored in the product.

    ``calibration`` is for calibrated methods, and for static schemes: their scales are set once the method is done.
    """
    targets = [] if scheme.is_float else target_linears(model, scope)
    quantizer = method.quantizer()
    made = quantizer.quantize(Job(model, targets, scheme, seed, header, calibration))
    if exceptions := _exceptions(made, scheme, targets):
        if quantizer.uniform:
            raise UserError(f"method {method.label}: its linears have {exceptions}, and its quantizer says uniform")
        made.header = {**made.header, **exceptions}
    if calibration is not None:
        made.header = {**made.header, "calibrated_on": sorted(calibration.clips.global_names())}
        calibrate_inputs(made, model, calibration.clips, calibration.compute_dtype)
    return made


def _exceptions(made: QuantizedModel, scheme: Scheme, targets: list[str]) -> dict[str, list[str]]:
    """How ``made`` differs from "every target at the scheme", as its header says it."""
    found = {
        OTHER_SCHEMES: sorted({str(linear.scheme) for linear in made.linears.values()} - {str(scheme)}),
        FLOAT_TARGETS: sorted(set(targets) - replaced(made).keys()),
    }
    return {key: values for key, values in found.items() if values}


def artifact_path(folder: Path, run: Run) -> Path:
    """File of a run's quantized model."""
    conditions = run.compilation()
    name = f"{run.method.label.replace(':', '+')}-{run.scheme}-{content_key(conditions)[:12]}.safetensors"
    return folder / run.loaded.spec.name / name


def code_bytes(run: Run) -> int:
    """Bytes of a run's integer codes: the artefact without scales and what the method adds, known beforehand."""
    model = run.loaded.model
    weights = [model.get_parameter(f"{name}.weight").numel() for name in target_linears(model, run.scope)]
    return sum(packed_bytes(count, run.scheme.weight_bits) for count in weights)


def calibration_of(run: Run, folder: Path | None) -> Calibration | None:
    """The run's calibration with its captured tensors in ``folder``; None where nothing is calibrated."""
    if run.clips is None:
        return None
    return Calibration(run.loaded.model, run.loaded.hash, run.clips, run.loaded.spec.compute_dtype, folder)


def compiled(folder: Path, calibrations: Path, run: Run) -> QuantizedModel:
    """The run's quantized model, read from ``folder``; compiled and saved first if it is not there or not sound.

    ``calibrations`` keeps what calibrated methods share. How long a compilation took is written beside the artefact.
    """
    path = artifact_path(folder, run)
    stored = _stored(path, run)
    if stored is None:
        began = time.monotonic()
        calibration = calibration_of(run, calibrations)
        made = compile_model(
            run.method, run.loaded.model, run.scheme, run.scope, run.seed, run.compilation(), calibration
        )
        write_atomically(path, made.save)
        note = {"seconds": time.monotonic() - began, COMPUTED_ON: computed_on(run.loaded.model.device)}
        write_json(path.with_suffix(".meta.json"), note)
        return QuantizedModel.load(path)
    return stored


def _stored(path: Path, run: Run) -> QuantizedModel | None:
    """The artefact of this run; None where there is none, it is damaged, or another's lies under its name.

    One that says it was compiled on something else (``numerics.computed_on``) counts as absent: its codes may differ.
    """
    if not path.is_file() or noted_beside(path, COMPUTED_ON) not in (None, computed_on(run.loaded.model.device)):
        return None
    expected = json.loads(json.dumps(run.compilation()))
    try:
        stored = QuantizedModel.load(path)
        if any(stored.header.get(key) != value for key, value in expected.items()):
            return None
        check_fits(stored, run.loaded.model, path)
        if run.method.quantizer().uniform and {OTHER_SCHEMES, FLOAT_TARGETS} & stored.header.keys():
            raise UserError(f"{path}: it has exceptions from {run.scheme}, which {run.method.label} does not make")
    except UserError as error:
        _log.warning("%s; made again", error)
        return None
    return stored
