"""Sensitivity of the tasks to every channel of every block's output: diagonal Fisher information (FGQ, section 3.1).

Estimators (spec: fgq 1.1, 1.2; baselines):

- ``sum``: squared gradient of the plain sum of a head's output, as FGQ's released code computes it. It sees one
  direction of the output only; errors of zero mean are invisible.
- ``gauss-newton``: E_v (v^T J)^2 with Rademacher probes v / sqrt(output size): the Fisher information of a Gaussian
  likelihood with labels drawn from the model itself.
- ``pseudo-label``: squared gradient of a Huber loss against what the float model says of the same frames in another
  order (same reference frame) with photometric jitter; depth and points are weighted by confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.stream import stream
from fgq_bench.models.interface import TOKEN_TYPES, ReconstructionModel
from fgq_bench.models.predictions import Predictions
from fgq_bench.task_losses import TASKS, Labels, heads, task_loss

ESTIMATORS = ("sum", "gauss-newton", "pseudo-label")
FOLDER = "fisher"  # of what is kept, inside a calibration's
FLOOR = 0.01  # smallest channel weight
BRIGHTNESS, CONTRAST = 0.1, 0.2  # half ranges of the photometric jitter


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """``images`` [S, 3, H, W] with a random contrast and brightness per frame, clamped to [0, 1]."""
    contrast, brightness = 2 * torch.rand(2, len(images), 1, 1, 1, generator=generator).to(images.device) - 1
    changed: Tensor = (images - 0.5) * (1 + CONTRAST * contrast) + 0.5 + BRIGHTNESS * brightness
    return changed.clamp(0, 1)


class Estimator:
    """Scalars whose squared gradients make up the estimate: one or more per task and clip.

    Args:
        name: one of ``ESTIMATORS``.
        probes: random probes per clip (``gauss-newton`` only).
    """

    def __init__(self, name: str, probes: int, seed: int) -> None:
        self.name, self.repeats = name, probes if name == "gauss-newton" else 1
        self.generator = torch.Generator().manual_seed(seed)

    def labels(self, images: Tensor, run: Callable[[Tensor], Predictions]) -> Labels | None:
        """Pseudo-labels of ``images`` [1, S, 3, H, W] with their confidences; None for the other estimators."""
        if self.name != "pseudo-label":
            return None
        frames = images.shape[1]
        order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(frames - 1, generator=self.generator)])
        with torch.no_grad():
            out = run(jitter(images[0][order], self.generator)[None])
        back = order.argsort()
        found = Labels.of(out)
        values, confidence = ({name: x[:, back] for name, x in each.items()} for each in (found.values, found.confidence))  # fmt: skip
        return Labels(values, confidence)

    def scalar(self, task: str, output: Tensor, labels: Labels | None) -> Tensor:
        """The scalar whose gradient is taken, for a head's ``output``."""
        if self.name == "sum":
            return output.sum()
        if self.name == "gauss-newton":
            signs = 2 * torch.randint(0, 2, output.shape, generator=self.generator) - 1
            projected: Tensor = (output * signs.to(output)).sum() / output.numel() ** 0.5
            return projected
        assert labels is not None
        return task_loss(task, output, labels)


@contextmanager
def _outputs(model: ReconstructionModel, blocks: list[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of ``blocks`` in the next forward pass; gradients start at the first of them."""
    found: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., Tensor]:
        def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
            found[name] = output if output.requires_grad else output.requires_grad_()
            return output

        return keep

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in blocks]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def estimate(calibration: Calibration, blocks: list[str], name: str, probes: int, seed: int) -> Tensor:
    """Fisher information F [tasks, blocks, token types, channels] of the float model on the calibration clips.

    F is the squared gradient with respect to a block's output, summed over the tokens of a type, averaged over clips
    (and probes). Summed over types it is FGQ's F_k[l, c]. Gradients are squared in fp32.

    Args:
        blocks: names of blocks in the order of execution.
        name, probes: see ``Estimator``.
    """
    model, estimator = calibration.model, Estimator(name, probes, seed)
    first = next(iter(calibration.clips))
    types = {stage.name: stage.token_types for stage in stream(model, [first], calibration.compute_dtype)}
    total = torch.zeros(0)
    for clip in calibration.clips:
        images = clip[None].to(model.device)
        labels = estimator.labels(images, calibration.run)
        with _outputs(model, blocks) as found, torch.enable_grad():
            outputs = heads(calibration.run(images))
            if not total.numel():
                width = found[blocks[0]].shape[-1]
                total = torch.zeros(len(TASKS), len(blocks), len(TOKEN_TYPES), width, device=model.device)
            for _ in range(estimator.repeats):
                for index, task in enumerate(TASKS):
                    scalar = estimator.scalar(task, outputs[task], labels)
                    gradients = torch.autograd.grad(scalar, [found[b] for b in blocks], retain_graph=True)
                    for row, (block, gradient) in enumerate(zip(blocks, gradients, strict=True)):
                        squares = gradient.float().square().sum(0)  # [tokens, C]
                        total[index, row].index_add_(0, types[block], squares)
    return total / (len(calibration.clips) * estimator.repeats)


def load_or_estimate(calibration: Calibration, blocks: list[str], name: str, probes: int, seed: int) -> Tensor:
    """``estimate``, kept with the calibration so that every method and scheme of a sweep shares it."""
    drawn = {"sum": "", "gauss-newton": f"-{probes}probes-seed{seed}", "pseudo-label": f"-seed{seed}"}[name]
    place = f"{FOLDER}/{name}{drawn}"
    return calibration.obtain(place, lambda: {"fisher": estimate(calibration, blocks, name, probes, seed)})["fisher"]


def balance_tasks(fisher: Tensor, tasks: list[str]) -> Tensor:
    """Sum [blocks, C] of the ``tasks`` of ``fisher`` [tasks, blocks, C], each divided by its mean (FGQ eq. 12)."""
    chosen = fisher[[TASKS.index(task) for task in tasks]]
    return (chosen / (chosen.mean((1, 2), keepdim=True) + 1e-30)).sum(0)


def channel_weights(fisher: Tensor, tasks: list[str]) -> Tensor:
    """Channel weights w [blocks, C] of the block loss (FGQ eqs. 12 to 15).

    Every task is divided by its mean over all blocks and channels, tasks are added, every block is divided by its own
    mean, and weights below 0.01 are raised to it.

    Args:
        fisher: [tasks, blocks, C]; ``tasks``: which of ``TASKS`` count.
    """
    return normalize_blocks(balance_tasks(fisher, tasks))


def normalize_blocks(balanced: Tensor) -> Tensor:
    """``balanced`` [blocks, C] over its mean in each block, at least 0.01 (FGQ eqs. 14 and 15)."""
    return (balanced / (balanced.mean(1, keepdim=True) + 1e-30)).clamp(min=FLOOR)


def token_weights(fisher: Tensor, counts: Tensor, tasks: list[str]) -> Tensor:
    """Weights [blocks, types, C] that also tell camera, register and patch tokens apart (not in the paper).

    A type's Fisher information is divided by its number of tokens, so that the weight is what one token counts; the
    mean over all tokens and channels of a block is 1 before the floor.

    Args:
        fisher: [tasks, blocks, types, C]; ``counts``: [types] tokens of each type.
    """
    chosen = fisher[[TASKS.index(task) for task in tasks]]
    scale = chosen.sum(2).mean((1, 2))[:, None, None, None] + 1e-30
    each = (chosen / scale).sum(0) / counts[:, None].clamp(min=1)
    mean = (each * counts[:, None]).sum((1, 2), keepdim=True) / (counts.sum() * each.shape[-1])
    return (each / (mean + 1e-30)).clamp(min=FLOOR)
