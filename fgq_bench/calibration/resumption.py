"""A streamed pass that is killed goes on where it was: what every clip has come to between two stages is kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgq_bench.calibration.manifest import CalibrationClips
from fgq_bench.calibration.stream import Stage, begin, check_one_size, stream_from
from fgq_bench.errors import OutputError
from fgq_bench.models.interface import ReconstructionModel, State, run_stage
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.numerics import same_numerics
from fgq_bench.tensor_files import load_tensors, save_tensors

FIRST = 1.0  # s of a pass before anything is kept: a short one is done sooner
SHARE = 10.0  # keeping may take a tenth of the time
LAYOUT = "layout"  # tensor with the state's structure, as JSON


class PassKeeper:
    """Files of a pass in ``folder``, one for each clip: its state and the stages that it has gone through.

    Args:
        identity: model, manifest and precision; what was kept of another pass counts as absent.
    """

    def __init__(self, folder: Path, identity: str, device: torch.device) -> None:
        self.folder, self.identity, self.device = folder, identity, device
        self._next = time.monotonic() + FIRST

    def keep(self, stages: Sequence[str], states: dict[int, State]) -> bool:
        """Keep the ``states`` of clips by their index after ``stages``, if it is time to; whether that was done."""
        began = time.monotonic()
        if began < self._next:
            return False
        with suppress(OutputError):  # nothing is lost but time
            self._save(stages, states)
        ended = time.monotonic()
        self._next = ended + SHARE * (ended - began)
        return True

    def _save(self, stages: Sequence[str], states: dict[int, State]) -> None:
        for index, state in states.items():
            tensors: dict[str, Tensor] = {}
            layout = json.dumps({"stages": list(stages), "state": _taken_apart(state, "state", tensors)})
            tensors[LAYOUT] = torch.tensor(list(layout.encode()), dtype=torch.uint8)
            save_tensors(self._path(index), tensors, self._about(index), same_numerics(self.device))

    def kept(self, index: int, template: State) -> tuple[list[str], State] | None:
        """The stages that clip ``index`` has gone through, and its state; None where nothing sound is kept.

        ``template`` is any state of the model's.
        """
        tensors = load_tensors(self._path(index), self._about(index), same_numerics(self.device))
        if tensors is None:
            return None
        layout = json.loads(bytes(tensors.pop(LAYOUT).tolist()))
        on_device = {name: value.to(self.device) for name, value in tensors.items()}
        return layout["stages"], _put_together(layout["state"], on_device, template)

    def clear(self) -> None:
        """Remove the files: the pass is done, or it does not serve what is asked for."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index}.safetensors"

    def _about(self, index: int) -> str:
        return f"{self.identity}/{index}"


def resumed(
    model: ReconstructionModel, clips: CalibrationClips, compute_dtype: str, keeper: PassKeeper, missing: Iterable[str]
) -> Iterator[Stage]:
    """``stream`` from where ``keeper``'s pass was, which serves those that lack none but later linears of ``missing``."""
    template = begin(model, clips.images(0), compute_dtype)
    found = [keeper.kept(index, template) for index in range(len(clips))]
    done = max((each[0] for each in found if each is not None), key=len, default=[])
    if any(target.startswith(f"{stage}.") for stage in done for target in missing):
        found, done = [None] * len(clips), []
    states, new = list[State](), dict[int, State]()
    for index, each in enumerate(found):
        stages, state = each or ([], template if index == 0 else begin(model, clips.images(index), compute_dtype))
        if each is None:
            new[index] = state
            new = {} if keeper.keep([], new) else new
        for _ in done[len(stages) :]:  # killed while the clips' states were kept
            state = _one_stage_further(model, state, compute_dtype)
        states.append(state)
    steps = [step for state in states if (step := model.next_stage(state)) is not None]
    check_one_size(step.x.shape for step in steps)
    del template, found, new, steps, each, state

    def keep(stage: str) -> None:
        done.append(stage)
        keeper.keep(done, dict(enumerate(states)))

    yield from stream_from(model, states, compute_dtype, after=keep)


def _one_stage_further(model: ReconstructionModel, state: State, compute_dtype: str) -> State:
    step = model.next_stage(state)
    assert step is not None, "another clip has gone through it"
    with torch.no_grad(), evaluation_precision(model.device, compute_dtype):
        return model.advance(state, run_stage(step))


def _taken_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The structure of a state as plain JSON; its tensors, copied, go into ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().clone()  # several may share their memory
        return {"tensor": name}
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"fields": {key: _taken_apart(part, f"{name}.{key}", tensors) for key, part in parts.items()}}
    if isinstance(value, (tuple, list)):
        items = [_taken_apart(part, f"{name}.{index}", tensors) for index, part in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    return {"plain": value}


def _put_together(layout: dict[str, Any], tensors: dict[str, Tensor], template: Any) -> Any:
    """Inverse of ``_taken_apart``; data classes are those of ``template``."""
    ((kind, content),) = layout.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "fields":
        parts = {key: _put_together(part, tensors, getattr(template, key)) for key, part in content.items()}
        return replace(template, **parts)
    if kind == "plain":
        return content
    items = [_put_together(part, tensors, None) for part in content]
    return items if kind == "list" else tuple(items)
