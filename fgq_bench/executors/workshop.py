"""A worker's own: what it keeps between orders (models, data sets, scenes), and how it carries one out."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips
from fgq_bench.errors import UserError
from fgq_bench.executors.orders import (
    CalibrationOrder,
    ClipsSource,
    DatasetSource,
    ModelSource,
    Order,
    RunOrder,
    code_hash,
)
from fgq_bench.loaders.base import Dataset, SceneCache, open_dataset
from fgq_bench.planning import LoadedModel, Request, Run
from fgq_bench.quant.scheme import Scheme
from fgq_bench.results import Result
from fgq_bench.runner import Advance, Finished, Pending, Sweep, Workspace


class Workshop:
    """Carries out orders in this process.

    Args:
        root: folder of artefacts and cache; the output of the sweep where worker and client share it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scenes = SceneCache()
        self.models: dict[ModelSource, LoadedModel] = {}
        self.datasets: dict[tuple[str, Path | None, int | None, str | None], Dataset] = {}
        self.clips: dict[tuple[str, tuple[tuple[str, Path], ...]], CalibrationClips] = {}

    def perform(self, order: Order, advance: Advance) -> bytes:
        """Carry out ``order``: a run's results as JSON, nothing for a calibration (its files lie under ``root``).

        Raises:
            UserError: the order cannot be carried out as the client means it (other code, weights or frames).
            OutputError: this worker's disk refuses.
        """
        torch.set_num_threads(order.threads)
        if order.code != code_hash():
            raise UserError("the worker runs other code than the client: install the same fgq-bench on both")
        if isinstance(order, CalibrationOrder):
            self._calibrate(order)
            return b""
        assert isinstance(order, RunOrder)
        item = self._pending(order)
        workspace = Workspace(self.root, order.keep_predictions, self.scenes)
        return pack(Sweep(workspace, on_bad_data=order.on_bad_data).compute(item, advance))

    def _calibrate(self, order: CalibrationOrder) -> None:
        loaded, clips = self._model(order.model), self._clips(order.clips)
        folder = Workspace(self.root).calibrations
        data = Calibration(loaded.model, loaded.hash, clips, loaded.spec.compute_dtype, folder)
        data.capture(list(order.targets))

    def _pending(self, order: RunOrder) -> Pending:
        """The run that the client planned, made again here; refused where one of its cells has another key."""
        clips = None if order.clips is None else self._clips(order.clips)
        run = Run(
            order.method, Scheme.parse(order.scheme), order.scope, order.seed, order.backend,
            self._dataset(order.dataset), order.tasks, self._model(order.model), clips, order.row,
        )  # fmt: skip
        cells = {cell.key: cell for cell in run.cells()}
        if not cells.keys() >= set(order.keys):
            raise UserError(
                f"the worker's copy of {run.dataset.card.name} is not the client's: frames or protocol card differ"
            )
        return Pending(run, [cells[key] for key in order.keys])

    def _model(self, source: ModelSource) -> LoadedModel:
        """The float model, loaded once; one at a time is kept."""
        if source not in self.models:
            self.models.clear()
            asked = Request([], [], [], model=source.name, checkpoint=source.checkpoint, device=source.device)
            loaded = LoadedModel.load(asked)
            if loaded.hash != source.hash:
                raise UserError(f"the worker's weights of {source.name} are not the client's")
            self.models[source] = loaded
        return self.models[source]

    def _dataset(self, source: DatasetSource) -> Dataset:
        key = (source.card.name, source.root, source.limit, source.protocol)
        if key not in self.datasets:
            self.datasets[key] = open_dataset(source.card, source.root, source.limit, source.protocol)
        return self.datasets[key]

    def _clips(self, source: ClipsSource) -> CalibrationClips:
        key = (source.manifest.hash, source.roots)
        if key not in self.clips:
            self.clips[key] = CalibrationClips(source.manifest, dict(source.roots))
        return self.clips[key]


def pack(finished: Finished) -> bytes:
    """What became of a run, as JSON: floats come back as they were, bit for bit."""
    return json.dumps({"results": [result.values() for result in finished.results], "meta": finished.meta}).encode()


def unpack(answer: bytes) -> Finished:
    """The inverse of ``pack``."""
    values = json.loads(answer)
    return Finished([Result.parse(each, "a worker's answer") for each in values["results"]], values["meta"])
