"""A float model on a manifest: statistics captured once, kept on disk, and shared by every method of a sweep."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from torch import Tensor

from fgq_bench.calibration.manifest import CalibrationClips
from fgq_bench.calibration.resumption import PassKeeper, resumed
from fgq_bench.calibration.statistics import LinearStatistics, collect
from fgq_bench.calibration.stream import Stage, stream
from fgq_bench.errors import UserError
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.models.predictions import Predictions
from fgq_bench.numerics import same_numerics
from fgq_bench.scratch import scratch_folder
from fgq_bench.tensor_files import load_tensors, save_tensors

VERSION = 1  # raised when what is kept changes meaning


class Calibration:
    """What methods learn from: the float model on the clips of a manifest.

    Args:
        model: the float model.
        identity: what else decides the numbers (the model's hash), for the cache's key.
        clips: images of the manifest.
        compute_dtype: precision of the pass, as the model is evaluated.
        folder: where captured tensors are kept; None: a temporary folder that goes with this object.
    """

    def __init__(
        self,
        model: ReconstructionModel,
        model_hash: str,
        clips: CalibrationClips,
        compute_dtype: str,
        folder: Path | None,
    ) -> None:
        self.model, self.clips, self.compute_dtype = model, clips, compute_dtype
        self.key = f"v{VERSION}-{model_hash[:12]}-{clips.manifest.hash[:12]}-{compute_dtype}"
        self._folder = folder
        self._sound: set[str] = set()  # names whose files were read and verified

    @cached_property
    def folder(self) -> Path:
        """Where this model's tensors on this manifest are kept."""
        if self._folder is not None:
            return self._folder / self.key
        scratch = ExitStack()
        weakref.finalize(self, scratch.close)
        return scratch.enter_context(scratch_folder())

    def stages(self, cross_frame: bool = True) -> Iterator[Stage]:
        """A fresh streamed pass over the float model; ``cross_frame``: see ``stream``."""
        return stream(self.model, self.clips, self.compute_dtype, cross_frame)

    def run(self, images: Tensor) -> Predictions:
        """The whole float model on ``images`` [1, S, 3, H, W], in the precision in which it is evaluated."""
        with evaluation_precision(self.model.device, self.compute_dtype):
            return self.model(images)

    def statistics(self, name: str, targets: list[str], patches_only: bool = False) -> LinearStatistics:
        """Statistics of the linear ``name``; one pass captures all ``targets`` that are not stored yet."""
        if not self.holds(f"{_folder(patches_only)}/{name}"):
            self.capture(targets, patches_only=patches_only)
        return LinearStatistics(**self.kept(f"{_folder(patches_only)}/{name}"))

    def capture(
        self, targets: list[str], advance: Callable[[str], None] = lambda stage: None, patches_only: bool = False
    ) -> None:
        """Capture the statistics of all ``targets`` that are not stored, in one pass that ends with the last of them.

        A pass that was killed goes on where it was.

        ``advance(stage)`` is told of every stage that is done; ``patches_only``: see ``collect``.
        """
        folder = _folder(patches_only)
        missing = {name for name in targets if not self.holds(f"{folder}/{name}")}
        keeper = PassKeeper(self.folder / "pass", self._identity("pass"), self.model.device)
        if not missing:
            keeper.clear()  # of a process that was killed when it was done
            return
        for stage in resumed(self.model, self.clips, self.compute_dtype, keeper, missing):
            for name, statistics in collect(stage, missing, patches_only).items():
                _check_finite(name, statistics)
                self.keep(f"{folder}/{name}", statistics.tensors())
                missing.discard(name)
            advance(stage.name)
            if not missing:
                break
        keeper.clear()

    def keep(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Store tensors under ``name``; raises UserError where one holds NaN: nothing can be learnt from it."""
        for key, value in tensors.items():
            if value.isnan().any():
                raise UserError(f"calibration: {key} of {name} is not finite: weights or activations overflow")
        save_tensors(self._path(name), tensors, self._identity(name), same_numerics(self.model.device))

    def holds(self, name: str) -> bool:
        """Whether ``keep`` has stored ``name`` on a machine like this; a damaged or foreign file counts as absent."""
        here = same_numerics(self.model.device)
        if name not in self._sound and load_tensors(self._path(name), self._identity(name), here) is not None:
            self._sound.add(name)
        return name in self._sound

    def kept(self, name: str) -> dict[str, Tensor]:
        """What ``keep`` stored as ``name``, on the model's device; raises UserError where it is not there or damaged."""
        tensors = load_tensors(self._path(name), self._identity(name))
        if tensors is None:
            raise UserError(f"{self._path(name)}: damaged or gone; run again")
        return {key: value.to(self.model.device) for key, value in tensors.items()}

    def obtain(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What is kept as ``name``; made and kept first if it is not there."""
        if not self.holds(name):
            self.keep(name, make())
        return self.kept(name)

    def _identity(self, name: str) -> str:
        return f"{self.key}/{name}"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _check_finite(name: str, statistics: LinearStatistics) -> None:
    """Raise UserError where the inputs of the linear ``name`` overflow."""
    for key, value in statistics.tensors().items():
        if not value.isfinite().all():
            raise UserError(f"calibration: {key} of {name} is not finite: weights or activations overflow")


def _folder(patches_only: bool) -> str:
    return "patch-statistics" if patches_only else "statistics"
