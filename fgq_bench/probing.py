"""Change one stage of a network, see what the tasks make of it: inputs of every stage are made once, and for a change
only the rest of the network runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.stream import check_one_size
from fgq_bench.errors import UserError
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.interface import ReconstructionModel, State, Step, run_stage
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.models.predictions import Predictions
from fgq_bench.models.targets import targets
from fgq_bench.task_losses import Labels, heads, relative_error, total_loss
from fgq_bench.torch_compile import compiled

T = TypeVar("T")
CHUNK = 2**20  # pixels that run together


@dataclass(frozen=True)
class ProbedStage:
    """A stage with its inputs for all probe clips, and what the tasks should make of its outputs."""

    model: ReconstructionModel
    compute_dtype: str
    steps: list[Step]  # one per chunk of clips
    states: list[State]
    labels: list[Labels]

    @property
    def name(self) -> str:
        """Of the module in the model."""
        return self.steps[0].name

    @property
    def module(self) -> nn.Module:
        """The float one."""
        return self.steps[0].module

    def outputs(self, module: nn.Module) -> Iterator[Tensor]:
        """Of ``module`` in this stage's place, one per chunk."""
        for step in self.steps:
            with torch.no_grad(), evaluation_precision(step.x.device, self.compute_dtype):
                out = run_stage(step, module)
            yield out

    def resumed(self, outputs: Iterable[Tensor]) -> Iterator[Predictions]:
        """The network's, with ``outputs`` (one per chunk) in the stead of this stage's; the rest of it is float."""
        for output, state in zip(outputs, self.states, strict=True):
            with torch.no_grad(), evaluation_precision(self.model.device, self.compute_dtype):
                out = _run(self.model, self.model.advance(state, output))
            yield out

    def predictions(self, module: nn.Module) -> Iterator[Predictions]:
        """The network's, with ``module`` in this stage's place; the rest of it is float."""
        return self.resumed(self.outputs(module))

    def loss(self, module: nn.Module, weights: dict[str, float]) -> float:
        """``total_loss`` over all clips with ``module`` in this stage's place."""
        total = clips = 0.0
        for out, labels in zip(self.predictions(module), self.labels, strict=True):
            total += len(out.pose_enc) * total_loss(out, labels, weights).item()
            clips += len(out.pose_enc)
        return total / clips

    def errors(self, module: nn.Module) -> dict[str, float]:
        """Relative error |output - label| / |label| of every head over all clips, by task."""
        sums: dict[str, list[float]] = {}
        for out, labels in zip(self.predictions(module), self.labels, strict=True):
            for task, output in heads(out).items():
                entry = sums.setdefault(task, [0.0, 0.0])
                for index, value in enumerate(relative_error(task, output, labels)):
                    entry[index] += value
        return {task: (error / label) ** 0.5 for task, (error, label) in sums.items()}


def probe(calibration: Calibration, clips: int, truth: bool = False) -> Iterator[ProbedStage]:
    """Every stage of the float model with the first ``clips`` calibration clips (or all, where there are fewer), in
    the order of execution.

    Args:
        truth: labels are the data set's ground truth, else the float model's own predictions.

    Raises:
        UserError: clips of two sizes, or no ground truth where it is wanted.
    """
    clips = min(clips, len(calibration.clips))
    model, dtype = calibration.model, calibration.compute_dtype
    images = list(islice(calibration.clips, clips))
    check_one_size(each.shape for each in images)
    truths = [calibration.clips.scene(index) for index in range(clips)] if truth else []
    size = max(1, CHUNK // images[0][:, 0].numel())
    chunks = [torch.stack(images[start : start + size]).to(model.device) for start in range(0, clips, size)]

    @torch.no_grad()
    def run(function: Callable[..., T], *arguments: Any) -> T:  # not around the yield: the consumer is not in bf16
        with evaluation_precision(model.device, dtype):
            return function(*arguments)

    states = [run(model.begin, chunk) for chunk in chunks]
    labels = [Labels.of(run(_run, model, state)) for state in states]
    if truth:
        labels = [_truth(truths[index * size : (index + 1) * size], each) for index, each in enumerate(labels)]
    while True:
        steps = [step for state in states if (step := run(model.next_stage, state)) is not None]
        if not steps:
            return
        yield ProbedStage(model, dtype, steps, states, labels)
        states = [run(model.advance, state, run(run_stage, step)) for state, step in zip(states, steps, strict=True)]


def _run(model: ReconstructionModel, state: State) -> Predictions:
    """All that is left of a pass; the dense heads, most of its cost and the same for every change, are compiled."""
    out: Predictions = compiled(_finish)(model, model.run_stages(state))
    return out


def _finish(model: ReconstructionModel, state: State) -> Predictions:
    return model.finish(state)


def _truth(scenes: list[Scene], predicted: Labels) -> Labels:
    """Ground truth of some clips; confidences are the model's."""
    fields = []
    for scene in scenes:
        values = (scene.extrinsics, scene.intrinsics, scene.depth, scene.mask)
        if any(value is None for value in values):
            raise UserError(f"labels from ground truth: {scene.sequence!r} has no cameras, no depth or no mask")
        fields.append(values)
    extrinsics, intrinsics, depth, mask = (_stack(each, predicted) for each in zip(*fields, strict=True))
    pose_enc, depth, points = targets(extrinsics, intrinsics, depth, mask)
    return Labels({"camera": pose_enc, "depth": depth, "points": points}, predicted.confidence, mask.bool())


def _stack(values: tuple[Tensor | None, ...], like: Labels) -> Tensor:
    return torch.stack([value for value in values if value is not None]).to(like.values["camera"])
