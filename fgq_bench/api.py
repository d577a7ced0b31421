"""The Python interface: load_model, quantize, load_quantized, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.cards import DatasetCard, Scalar, load_card
from fgq_bench.compiling import compile_model
from fgq_bench.kernels.placement import install
from fgq_bench.kernels.registry import find_backend
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.models.checkpoints import load_model, model_hash
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.precision import choose_precision
from fgq_bench.predictions import predict
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.fitting import check_fits
from fgq_bench.quant.scheme import Scheme
from fgq_bench.registry import check_compilable, find_method
from fgq_bench.seeds import check_seed
from fgq_bench.tasks.aggregate import summarize
from fgq_bench.tasks.registry import choose_tasks, find_task
from fgq_bench.tasks.scoring import fields_read, score_sequences

NetworkT = TypeVar("NetworkT", bound=ReconstructionModel)

__all__ = ["evaluate", "load_model", "load_quantized", "quantize"]


def quantize(
    model: ReconstructionModel,
    method: str,
    scheme: str,
    scope: str = "aa",
    seed: int = 0,
    overrides: dict[str, Scalar] | None = None,
    calibration: str = "procedural-64x4",
    roots: dict[str, Path] | None = None,
    compute_dtype: str | None = None,
    folder: Path | None = None,
) -> QuantizedModel:
    """Quantize ``model`` (left untouched) with ``NAME[:PRESET]`` at a scheme such as ``w4a4``.

    >>> quantized = quantize(load_model(), "rtn", "w4a4")
    >>> quantized.save(Path("vggt-tiny-w4a4.safetensors"))

    Args:
        calibration: manifest (name or .json file) for calibrated methods and static schemes; ``roots``: folders of its
            data sets.
        compute_dtype: precision of the calibration pass, ``float32`` or ``bfloat16``; None: what the weights of
            ``model`` are stored for.
        folder: keeps what calibrated methods share (default: nothing is kept).

    Raises:
        UserError: unknown method, scheme, scope, option or manifest; a seed out of range; a group that does not divide a width.
    """
    resolved, parsed = find_method(method, overrides), Scheme.parse(scheme)
    check_seed(seed)
    check_compilable(resolved, parsed, scope, model)
    own_hash = model_hash(model)
    data = None
    if resolved.needs_calibration(parsed):
        clips = CalibrationClips(load_manifest(calibration), roots or {})
        data = Calibration(model, own_hash, clips, choose_precision(model, compute_dtype), folder)
    header: dict[str, object] = {
        "method": resolved.identity(), "preset": resolved.preset, "scheme": scheme, "scope": scope, "seed": seed,
        "model": {"hash": own_hash}, "calibration": None if data is None else data.clips.manifest.identity(),
    }  # fmt: skip
    return compile_model(resolved, model, parsed, scope, seed, header, data)


def load_quantized(path: str | Path, model: NetworkT, backend: str = "reference") -> NetworkT:
    """A copy of the float ``model`` with the quantized linears of file ``path``, executed by ``backend``.

    Raises:
        UserError: missing or foreign file; made from other weights than ``model``'s; unknown backend, or one that
            cannot run here.
    """
    quantized = QuantizedModel.load(Path(path))
    quantized.check_made_from(model_hash(model), str(path))
    check_fits(quantized, model, path)
    small, _ = install(quantized, model, find_backend(backend))
    return small


def evaluate(
    model: ReconstructionModel,
    dataset: str,
    tasks: list[str] | None = None,
    reference: ReconstructionModel | None = None,
    root: Path | None = None,
    limit: int | None = None,
    protocol: str | None = None,
    compute_dtype: str | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Score ``model`` on a data set: task -> metric -> value, 95 % interval, unit, aggregation.

    Args:
        reference: the full-precision model; without it the agreement task compares ``model`` with itself.
        tasks: default: all tasks of the protocol.
        root: folder of a data set that lies in files; ``protocol``: a protocol card instead of the data set's own.
        compute_dtype: as for ``quantize``.

    Raises:
        UserError: a task, protocol or folder that the data set does not have; a sequence that cannot be read.
    """
    data = open_dataset(load_card(DatasetCard, dataset), root, limit, protocol)
    return score_dataset(model, data, tasks, reference, compute_dtype)


def score_dataset(
    model: ReconstructionModel,
    data: Dataset,
    tasks: list[str] | None = None,
    reference: ReconstructionModel | None = None,
    compute_dtype: str | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """As ``evaluate``, on a data set that is open already."""
    precision = choose_precision(model, compute_dtype)
    chosen = [find_task(name) for name in choose_tasks(data.card.name, data.setting.tasks, tasks)]
    data.check_whole()
    fields = fields_read(chosen)
    scores = score_sequences(
        (data.load(sequence) for sequence in data.sequences()),
        chosen,
        lambda scene: predict(model, scene, precision, fields),
        lambda scene: predict(reference or model, scene, precision, fields),
    )
    return {task.name: summarize(task, scores[task.name]) for task in chosen}
