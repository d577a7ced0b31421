"""Orders: what a worker is asked to do, as plain data that any process can be sent; never a loaded model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import Manifest
from fgq_bench.cards import DatasetCard
from fgq_bench.compiling import artifact_path, calibration_of
from fgq_bench.planning import Run
from fgq_bench.quant.scopes import target_linears
from fgq_bench.registry import Method
from fgq_bench.runner import OnBadData, Pending


@dataclass(frozen=True)
class ModelSource:
    """Where a worker finds a float model, and the hash by which it knows that it is the client's."""

    name: str
    checkpoint: str | None  # file or hub id on the worker's machine; None: the model's own
    device: str
    hash: str


@dataclass(frozen=True)
class DatasetSource:
    """How a worker opens a data set; ``root`` is a folder on its machine."""

    card: DatasetCard
    root: Path | None
    limit: int | None
    protocol: str | None  # None: the data set has its own way


@dataclass(frozen=True)
class ClipsSource:
    """What is calibrated on; ``roots`` are folders on the worker's machine."""

    manifest: Manifest
    roots: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class Order:
    """What every order says."""

    label: str
    model: ModelSource
    code: str  # ``code_hash`` of the client
    threads: int  # of torch: sums depend on it in their last bits


@dataclass(frozen=True)
class CalibrationOrder(Order):
    """Capture the statistics that calibrated methods share: those of all linears in the scopes."""

    key: str  # of ``Calibration``: model, manifest, precision
    clips: ClipsSource
    targets: tuple[str, ...]


@dataclass(frozen=True)
class RunOrder(Order):
    """Quantize a model, predict one data set, score the tasks of the cells ``keys``."""

    method: Method
    scheme: str
    scope: str
    seed: int
    backend: str
    dataset: DatasetSource
    tasks: tuple[str, ...]
    keys: tuple[str, ...]  # of the results that are expected back, in order
    clips: ClipsSource | None
    row: str | None
    on_bad_data: OnBadData
    keep_predictions: bool
    artefact: str  # orders that share it are best done by one worker
    calibration: str | None  # key of the calibration that it waits for


@cache
def code_hash() -> str:
    """SHA-256 over the source of this package: a worker with other code would file its numbers under false keys."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def order_of(item: Pending, device: str, on_bad_data: OnBadData, keep_predictions: bool, calibration: bool) -> RunOrder:
    """A pending run as data, to be executed on ``device``; ``calibration``: it waits for the shared statistics."""
    run = item.run
    setting = run.dataset.setting
    source = DatasetSource(
        run.dataset.card, run.dataset.root, run.dataset.limit, None if setting.entry is None else setting.protocol
    )
    return RunOrder(
        run.label, _model(run, device), code_hash(), torch.get_num_threads(), run.method, str(run.scheme), run.scope,
        run.seed, run.backend, source, run.tasks, tuple(cell.key for cell in item.cells), _clips(run), run.row,
        on_bad_data, keep_predictions, str(artifact_path(Path(), run)), _data(run, None).key if calibration else None,
    )  # fmt: skip


def learns_from_statistics(run: Run) -> bool:
    """Whether a run is of a calibrated method (static scales alone do not read what methods share)."""
    return run.clips is not None and run.method.card.calibrated


def calibration_orders(runs: list[Run], folder: Path, device: str) -> list[CalibrationOrder]:
    """One order for each model and manifest of ``runs`` whose statistics ``folder`` does not hold yet."""
    shared: dict[str, tuple[Run, dict[str, None]]] = {}
    for run in runs:
        if learns_from_statistics(run):
            _, targets = shared.setdefault(_data(run, None).key, (run, {}))
            targets.update(dict.fromkeys(target_linears(run.loaded.model, run.scope)))
    orders = []
    for key, (run, targets) in shared.items():
        data, clips = _data(run, folder), _clips(run)
        assert clips is not None
        if not all(data.holds(f"statistics/{name}") for name in targets):
            label = f"calibration of {run.loaded.spec.name} on {clips.manifest.name}"
            model = _model(run, device)
            orders.append(
                CalibrationOrder(label, model, code_hash(), torch.get_num_threads(), key, clips, tuple(targets))
            )
    return orders


def _data(run: Run, folder: Path | None) -> Calibration:
    found = calibration_of(run, folder)
    assert found is not None, "only of runs that are calibrated"
    return found


def _model(run: Run, device: str) -> ModelSource:
    return ModelSource(run.loaded.spec.name, run.loaded.checkpoint, device, run.loaded.hash)


def _clips(run: Run) -> ClipsSource | None:
    if run.clips is None:
        return None
    roots = {name: dataset.root for name, dataset in run.clips.datasets.items() if dataset.root is not None}
    return ClipsSource(run.clips.manifest, tuple(sorted(roots.items())))
