"""What noise in one channel, or in one whole block, does to every task: measured on clips held out of the calibration.

Every channel is disturbed by itself, whatever any ranking says of it. One set of measurements thus serves all
rankings and their controls, which are compared on equal numbers; "high- and low-Fisher channels" are read off it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, Clip, Manifest, fingerprint
from fgq_bench.errors import UserError
from fgq_bench.fisher_validity.noise import disturb_all, disturb_channel, draw_signs
from fgq_bench.loaders.base import Dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.predictions import Predictions
from fgq_bench.probing import ProbedStage, probe
from fgq_bench.tasks.agreement import Agreement
from fgq_bench.tasks.base import SequencePrediction

MEASURES = {"rotation": "camera", "centre": "camera", "depth": "depth", "points": "points"}
"""Metrics of the agreement task (noisy against float predictions), and the task that each is a measure of."""


@dataclass(frozen=True)
class Degradation:
    """Errors against the float predictions; the last axis is ``MEASURES``."""

    blocks: list[str]
    clips: list[str]
    channels: Tensor  # [blocks, channels] int64: those that were disturbed
    by_channel: Tensor  # [blocks, channels, seeds, clips, measures]
    by_block: Tensor  # [blocks, seeds, clips, measures]


def held_out_clips(datasets: Sequence[Dataset], clips: int, roots: dict[str, Path]) -> CalibrationClips:
    """The first sequences of every one of ``datasets``, in equal shares, ``clips`` in all, with all their frames.

    Raises:
        UserError: a share would be empty, or a data set has fewer sequences.
    """
    share, rest = divmod(clips, len(datasets))
    chosen: list[Clip] = []
    for index, dataset in enumerate(datasets):
        count = share + (index < rest)
        if not 0 < count <= len(dataset.frames):
            raise UserError(f"--clips {clips}: {dataset.card.name} would give {count} of its {len(dataset.frames)}")
        names = list(dataset.frames.items())[:count]
        chosen += [Clip(dataset.card.name, name, tuple(frames)) for name, frames in names]
    sources = tuple((dataset.card.name, fingerprint(dataset)) for dataset in datasets)
    return CalibrationClips(Manifest("held-out", "first sequences", 0, tuple(chosen), sources), roots)


def choose_channels(blocks: int, width: int, count: int) -> Tensor:
    """Channels [blocks, min(count, width)] of every block, drawn at random (seed 0), in order."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randperm(width, generator=generator)[:count].sort().values for _ in range(blocks)]
    return torch.stack(drawn)


def inject(
    held_out: Calibration,
    blocks: list[str],
    channels: Tensor,
    seeds: list[int],
    size: float,
    advance: Callable[[str], None] = lambda block: None,
) -> Degradation:
    """Disturb every one of ``channels``, and every block as a whole, by itself.

    Args:
        held_out: the float model on the clips that count.
        channels: [blocks, channels] to disturb, each with the noise of its tokens' 4-bit grids.
        size: root mean square of the noise of a whole block, equal for all blocks.
        advance: told of every block that is done.
    """
    scenes = [held_out.clips.scene(index) for index in range(len(held_out.clips))]
    by_channel, by_block = [], []
    for stage in probe(held_out, len(scenes)):
        if stage.name not in blocks:
            continue
        outputs = list(stage.outputs(stage.module))
        signs = [_draw([h.shape[:-1] for h in outputs], seed, held_out.model.device) for seed in seeds]
        rows = []
        for channel in channels[blocks.index(stage.name)].tolist():
            noisy = [[disturb_channel(h, channel, s) for h, s in zip(outputs, drawn, strict=True)] for drawn in signs]
            rows.append(torch.stack([_errors(stage, each, scenes) for each in noisy]))
        by_channel.append(torch.stack(rows))
        every = [_draw([h.shape for h in outputs], seed, held_out.model.device) for seed in seeds]
        whole = [[disturb_all(h, size, s) for h, s in zip(outputs, drawn, strict=True)] for drawn in every]
        by_block.append(torch.stack([_errors(stage, each, scenes) for each in whole]))
        advance(stage.name)
        if len(by_block) == len(blocks):
            break
    names = [scene.sequence for scene in scenes]
    return Degradation(blocks, names, channels, torch.stack(by_channel), torch.stack(by_block))


def _draw(shapes: list[torch.Size], seed: int, device: torch.device) -> list[Tensor]:
    """Signs in ``shapes``, one per chunk: the same for all blocks, whose tokens lie in the same order."""
    drawn = draw_signs((sum(shape.numel() for shape in shapes),), seed).to(device)
    parts = drawn.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _errors(stage: ProbedStage, outputs: list[Tensor], scenes: list[Scene]) -> Tensor:
    """Errors [clips, measures] where the stage's outputs are ``outputs``."""
    noisy = [each for out in stage.resumed(outputs) for each in _by_clip(out)]
    labels = [
        SequencePrediction(*values)
        for label in stage.labels
        for values in zip(label.values["camera"], label.values["depth"], label.values["points"], strict=True)
    ]
    task = Agreement()
    scores = [task.score(*each).values for each in zip(scenes, noisy, labels, strict=True)]
    return torch.tensor([[score[name] for name in MEASURES] for score in scores], dtype=torch.float64)


def _by_clip(out: Predictions) -> Iterator[SequencePrediction]:
    for values in zip(out.pose_enc, out.depth, out.points, strict=True):
        yield SequencePrediction(*values)
