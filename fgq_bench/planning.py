"""Planning: from what a user asks for to runs (one prediction pass each) and cells (one result each)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgq_bench.calibration import ranges
from fgq_bench.calibration.manifest import CalibrationClips, choose_manifest, open_clips
from fgq_bench.cards import DatasetCard, Scalar, load_card
from fgq_bench.errors import UserError
from fgq_bench.kernels.registry import find_backend
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.checkpoints import ModelSpec, find_model, load_model, model_hash
from fgq_bench.models.hub_cache import find_locally
from fgq_bench.quant.scheme import Scheme
from fgq_bench.registry import Method, check_compilable, find_method
from fgq_bench.results import Result, content_key
from fgq_bench.seeds import check_seed
from fgq_bench.tasks.registry import choose_tasks, find_task

Opened = dict[tuple[str, Path | None, int | None, str | None], Dataset]
"""Data sets by name, root, limit and protocol."""


@dataclass(frozen=True)
class Request:
    """A grid of cells: the product of all lists."""

    methods: list[str]  # NAME[:PRESET]
    schemes: list[str]
    datasets: list[str]
    tasks: list[str] | None = None  # None: what each data set's card names
    model: str = "vggt-tiny"
    checkpoint: str | None = None
    scopes: list[str] = field(default_factory=lambda: ["aa"])
    seeds: list[int] = field(default_factory=lambda: [0])
    backend: str = "reference"
    overrides: dict[str, Scalar] = field(default_factory=dict)
    roots: dict[str, Path] = field(default_factory=dict)
    protocol: str | None = None
    limit: int | None = None
    device: str = "cpu"
    calibration: str | None = None  # a manifest; None: the model's own
    elsewhere: bool = False  # executed on other machines or another device: what this one lacks is no reason to refuse


@dataclass
class LoadedModel:
    """A float model with its identity."""

    spec: ModelSpec
    model: AlternatingModel
    hash: str
    checkpoint: str | None = None  # that it was read from; None: the model's own

    @classmethod
    def load(cls, request: Request, download: bool = True) -> LoadedModel:
        """Load what ``request`` names; raises UserError, without ``download`` also where a hub would have to be asked."""
        checkpoint = request.checkpoint
        if not download:
            checkpoint = find_locally(checkpoint or find_model(request.model).checkpoint)
        model = load_model(request.model, checkpoint, request.device)
        return cls(find_model(request.model), model, model_hash(model), request.checkpoint)


@dataclass(frozen=True)
class Run:
    """One quantized model on one data set: predictions are made once and scored by every task."""

    method: Method
    scheme: Scheme
    scope: str
    seed: int
    backend: str
    dataset: Dataset
    tasks: tuple[str, ...]
    loaded: LoadedModel
    clips: CalibrationClips | None = None  # for calibrated methods and static schemes
    row: str | None = None  # the text of the report's row that asks for it

    @property
    def label(self) -> str:
        """For progress and messages."""
        return f"{self.row or f'{self.method.label} {self.scheme}'} on {self.dataset.card.name}"

    def compilation(self) -> dict[str, Any]:
        """Conditions of the quantized model alone: the artefact's identity."""
        return {
            "model": {"name": self.loaded.spec.name, "hash": self.loaded.hash},
            "method": self.method.identity(),
            "preset": self.method.preset,
            "calibration": None if self.clips is None else self.clips.manifest.identity(),
            "scheme": str(self.scheme),
            "scope": self.scope,
            "seed": self.seed,
            **({"static_scales": ranges.VERSION} if self.scheme.has_static_inputs else {}),
        }

    def prediction(self) -> dict[str, Any]:
        """Conditions of a sequence's prediction: those of the artefact, the data, and who executes."""
        return {
            **self.compilation(),
            "dataset": self.dataset.source(),
            "protocol": self.dataset.setting.identity(),
            "image_size": self.dataset.setting.image_size,
            "backend": self.backend,
            "compute_dtype": self.loaded.spec.compute_dtype,
            **({"kernels": versions} if (versions := self.kernel_versions()) else {}),
        }

    def kernel_versions(self) -> dict[str, int]:
        """Of the backend's kernels; empty for ``reference`` and where nothing is quantized."""
        return {} if self.scheme.is_float else find_backend(self.backend).versions()

    def prediction_key(self, sequence: str) -> str:
        """Identity of one cached prediction; does not depend on which other sequences are scored."""
        return content_key({**self.prediction(), "sequence": sequence, "frames": self.dataset.frames[sequence]})

    def cells(self) -> Iterator[Result]:
        """One empty result per task, with its key."""
        for name in self.tasks:
            task = find_task(name)
            about = {"name": name, "alignment": task.alignment, "algorithm": task.algorithm}
            conditions = {**self.prediction(), "frames": self.dataset.frame_list_hash, "task": about}
            yield Result("accuracy", content_key(conditions), conditions, "ok")

    def reference(self) -> Run:
        """The full-precision run on the same frames."""
        return float_run(find_method("fp"), self.dataset, self.tasks, self.loaded)


def float_run(method: Method, dataset: Dataset, tasks: tuple[str, ...], loaded: LoadedModel) -> Run:
    """A run in which nothing is quantized: scope, seed and backend have no meaning and are named so."""
    return Run(method, Scheme(16, 16), "none", 0, "float", dataset, tasks, loaded)


def _open(name: str, request: Request, opened: Opened) -> Dataset:
    how = (request.roots.get(name), request.limit, request.protocol)
    if (name, *how) not in opened:
        opened[name, *how] = open_dataset(load_card(DatasetCard, name), *how)
    return opened[name, *how]


def _datasets(request: Request, clips: CalibrationClips | None, opened: Opened) -> list[Dataset]:
    datasets = [_open(name, request, opened) for name in request.datasets]
    for dataset in datasets:
        if clips is not None:
            clips.check_disjoint(dataset)
    return datasets


def _clips(request: Request, spec: ModelSpec) -> CalibrationClips:
    name = choose_manifest(request.calibration, spec.calibration, spec.name)
    return open_clips(name, request.roots)


def _schemes(method: Method) -> list[Scheme]:
    """The only ones at which the method exists; none: it exists at every scheme."""
    return [Scheme.parse(text) for text in method.card.schemes]


def plan(request: Request, loaded: LoadedModel, opened: Opened | None = None) -> list[Run]:
    """All runs of ``request``, data set by data set; raises UserError for anything that cannot work.

    ``opened`` keeps the data sets for further requests: the index of one in files may take minutes to read.
    """
    for seed in request.seeds:
        check_seed(seed)
    backend = find_backend(request.backend)
    if not request.elsewhere:
        backend.load(loaded.model.device.type)  # refuses what cannot run here
    methods = [find_method(text, request.overrides) for text in request.methods]
    schemes = [Scheme.parse(text) for text in request.schemes]
    for method in methods:
        method.quantizer()  # refuses options that it does not have
    if not methods:
        raise UserError("name at least one method (-m); fgq-bench list methods shows them")
    asked = [(method, scheme) for method in methods for scheme in _schemes(method) or schemes]
    calibrated = any(method.needs_calibration(scheme) for method, scheme in asked)
    clips = _clips(request, loaded.spec) if calibrated else None
    runs: list[Run] = []
    for dataset in _datasets(request, clips, {} if opened is None else opened):
        tasks = choose_tasks(dataset.card.name, dataset.setting.tasks, request.tasks)
        dataset.check_not_empty()
        for method, scheme in asked:
            if scheme.is_float:
                runs.append(float_run(method, dataset, tasks, loaded))
                continue
            own = clips if method.needs_calibration(scheme) else None
            for scope in request.scopes:
                check_compilable(method, scheme, scope, loaded.model)
                runs += [
                    Run(method, scheme, scope, seed, request.backend, dataset, tasks, loaded, own)
                    for seed in (request.seeds if method.is_random else [0])
                ]
    if not runs:
        raise UserError("name at least one scheme (-b), for example -b w4a4")
    return list({next(run.cells()).key: run for run in runs}.values())
