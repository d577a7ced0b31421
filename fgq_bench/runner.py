"""The runner: execute a plan, skip what is stored, isolate failures, resume."""

from __future__ import annotations

import logging
import resource
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from fgq_bench.compiling import compiled
from fgq_bench.environment import describe
from fgq_bench.errors import BadData, OutputError, UserError
from fgq_bench.kernels.placement import install
from fgq_bench.kernels.registry import find_backend
from fgq_bench.loaders.base import SceneCache
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.workload import linear_flops
from fgq_bench.numerics import computed_on, same_numerics
from fgq_bench.planning import Run
from fgq_bench.predictions import PredictionCache, predict
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.size import count_bytes
from fgq_bench.results import COMPUTED_ON, Result, Store
from fgq_bench.tasks.aggregate import summarize
from fgq_bench.tasks.base import SequencePrediction, SequenceScore, Task
from fgq_bench.tasks.registry import find_task
from fgq_bench.tasks.scoring import fields_read, score_sequences

_log = logging.getLogger(__name__)
Overwrite = Literal["failed", "never", "always"]
OnBadData = Literal["stop", "skip"]


@dataclass
class Workspace:
    """Folders of one output: ``results/``, ``artifacts/``, ``cache/`` (``keep_predictions`` off: no cache)."""

    root: Path
    keep_predictions: bool = True
    scenes: SceneCache = field(default_factory=SceneCache)

    @property
    def store(self) -> Store:
        """The results."""
        return Store(self.root / "results")

    @property
    def artifacts(self) -> Path:
        """The quantized models."""
        return self.root / "artifacts"

    @property
    def calibrations(self) -> Path:
        """What calibrated methods share."""
        return self.root / "cache" / "calibration"

    @property
    def predictions(self) -> PredictionCache:
        """The predictions."""
        return PredictionCache(self.root / "cache" / "predictions" if self.keep_predictions else None)


@dataclass
class Outcome:
    """What a sweep did."""

    results: list[Result] = field(default_factory=list)
    computed: int = 0

    @property
    def failed(self) -> list[Result]:
        """Cells that ended with an error."""
        return [result for result in self.results if result.status == "failed"]

    @property
    def not_applicable(self) -> list[Result]:
        """Cells of methods that need what the model lacks."""
        return [result for result in self.results if result.status == "not applicable"]


@dataclass(frozen=True)
class Pending:
    """A run with the cells that still have to be computed."""

    run: Run
    cells: list[Result]


@dataclass(frozen=True)
class Finished:
    """What became of a pending run: a result for each of its cells, and how they were made (for ``.meta.json``)."""

    results: list[Result]
    meta: dict[str, Any]


Advance = Callable[[str, int], None]  # label of a run, sequences that it has come further
Perform = Callable[[list[Pending], Advance], Generator[Finished]]  # who computes: see ``fgq_bench.executors``


def split_pending(
    runs: list[Run], store: Store, overwrite: Overwrite, on_bad_data: OnBadData = "stop"
) -> tuple[list[Result], list[Pending]]:
    """Stored results that stand, and what is left to do; a cell that several runs share is done once."""
    done: list[Result] = []
    pending: list[Pending] = []
    seen: set[str] = set()
    for run in runs:
        todo = []
        for cell in run.cells():
            if cell.key in seen:
                continue
            seen.add(cell.key)
            stored = store.get(cell, run.dataset.sequences()) if overwrite != "always" else None
            if stored is None or (overwrite == "failed" and not _stands(stored, run, on_bad_data)):
                todo.append(cell)
            else:
                done.append(stored)
        if todo:
            pending.append(Pending(run, todo))
    return done, pending


def _stands(stored: Result, run: Run, on_bad_data: OnBadData) -> bool:
    """Whether a stored result need not be made again: it is no failure, and nothing was left out that is there now."""
    if stored.status == "failed":
        return False
    return not stored.skipped or (on_bad_data == "skip" and not any(_readable(run, row) for row in stored.skipped))


def _readable(run: Run, row: dict[str, str]) -> bool:
    try:
        run.dataset.load(row["sequence"])
    except UserError:
        return False
    return True


class Sweep:
    """One pass over a plan.

    Args:
        on_bad_data: what a sequence that cannot be read does to its run: ``stop`` fails it, ``skip`` leaves the sequence
            out, and the results say so.
        perform: computes what is missing, in any order; None: this process, one run after the other.
    """

    def __init__(
        self,
        workspace: Workspace,
        overwrite: Overwrite = "failed",
        on_bad_data: OnBadData = "stop",
        perform: Perform | None = None,
    ) -> None:
        self.workspace, self.overwrite, self.on_bad_data = workspace, overwrite, on_bad_data
        self.perform = perform or self.one_by_one

    def execute(self, runs: list[Run], advance: Advance = lambda label, steps: None) -> Outcome:
        """Compute what is missing. ``advance(label, sequences)`` reports progress.

        A failing run becomes failed (or not applicable) results and the sweep goes on; only an unwritable output ends it (OutputError).
        """
        done, pending = split_pending(runs, self.workspace.store, self.overwrite, self.on_bad_data)
        outcome = Outcome(results=done)
        with closing(self.perform(pending, advance)) as finished:  # whatever ends the sweep ends its workers, too
            for each in finished:
                for result in each.results:
                    self.workspace.store.put(result, each.meta)
                outcome.results += each.results
                outcome.computed += len(each.results)
        return outcome

    def one_by_one(self, pending: list[Pending], advance: Advance) -> Generator[Finished]:
        """Compute runs here, one after the other."""
        for item in pending:
            yield self.compute(item, advance)

    def compute(self, item: Pending, advance: Advance) -> Finished:
        """Compute one run here; a failure becomes its cells' result, only an unwritable output is raised."""
        began = time.monotonic()
        device = item.run.loaded.model.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            results = self._run(item, advance)
        except OutputError:
            raise
        except Exception as error:
            _log.debug("%s", traceback.format_exc())
            results = [cell.ended(error) for cell in item.cells]
        return Finished(results, make_meta(time.monotonic() - began, device))

    def _run(self, item: Pending, advance: Advance) -> list[Result]:
        run = item.run
        quantized = compiled(self.workspace.artifacts, self.workspace.calibrations, run)
        sizes = count_bytes(run.loaded.model, quantized)
        model, execution = _executable(run, quantized)
        tasks = [find_task(cell.conditions["task"]["name"]) for cell in item.cells]
        fields, reference = fields_read(tasks), run.reference()
        skipped: list[dict[str, str]] = []
        scores = score_sequences(
            self._scenes(run, skipped, advance),
            tasks,
            lambda scene: self._predict(run, model, scene, fields),
            lambda scene: self._predict(reference, run.loaded.model, scene, fields),
        )
        if not any(scores.values()):
            raise UserError(f"every sequence was skipped as bad data; the first: {skipped[0]['reason']}")
        notes = run.dataset.notes()
        results = [
            replace(
                _filled(cell, task, scores[task.name]), bytes=sizes, execution=execution, skipped=skipped, notes=notes
            )
            for cell, task in zip(item.cells, tasks, strict=True)
        ]
        for result in results:
            result.check(run.label)
        return results

    def _scenes(self, run: Run, skipped: list[dict[str, str]], advance: Advance) -> Iterator[Scene]:
        """The run's sequences, one by one; bad ones are added to ``skipped`` where the sweep goes on without them."""
        for part, reason in run.dataset.broken.items():
            self._leave_out(part, reason, skipped)
        for sequence in run.dataset.sequences():
            try:
                scene = self.workspace.scenes.load(run.dataset, sequence)
            except BadData as error:
                self._leave_out(sequence, str(error), skipped)
            else:
                yield scene
            advance(run.label, 1)

    def _leave_out(self, name: str, reason: str, skipped: list[dict[str, str]]) -> None:
        if self.on_bad_data == "stop":
            raise BadData(f"{reason}; repair it, or leave it out with --on-bad-data skip")
        skipped.append({"sequence": name, "reason": reason})

    def _predict(
        self, run: Run, model: ReconstructionModel, scene: Scene, fields: frozenset[str]
    ) -> SequencePrediction:
        key, here = run.prediction_key(scene.sequence), same_numerics(model.device)
        cached = self.workspace.predictions.get(key, fields, here)
        if cached is None:
            cached = predict(model, scene, run.loaded.spec.compute_dtype, fields)
            self.workspace.predictions.put(key, cached, here)
        return cached


def _executable(run: Run, quantized: QuantizedModel) -> tuple[ReconstructionModel, dict[str, Any]]:
    """The model that predicts, and what of it runs as integers (nothing to say where nothing is quantized, and of
    ``reference``, which emulates).
    """
    if run.scheme.is_float:
        return run.loaded.model, {}
    backend = find_backend(run.backend)
    model, placement = install(quantized, run.loaded.model, backend)
    if not backend.kernels:
        return model, {}
    size = run.dataset.setting.image_size
    return model, placement.summary(linear_flops(run.loaded.model, 1, (size, size)))


def _filled(cell: Result, task: Task, scores: list[SequenceScore]) -> Result:
    rows = [{"sequence": s.sequence, "category": s.category, "weight": s.weight, **s.values} for s in scores]
    return replace(cell, metrics=summarize(task, scores), sequences=rows)


def make_meta(seconds: float, device: torch.device) -> dict[str, Any]:
    """How results were made: ``seconds`` of the run on a ``device``, memory of this process, environment."""
    return {
        "seconds": seconds,  # of the run: its tasks share one pass
        "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
        COMPUTED_ON: computed_on(device),
        "environment": describe(),
        "command": sys.argv,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
