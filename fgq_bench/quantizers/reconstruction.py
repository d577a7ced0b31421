"""Block reconstruction: learn a block's transforms and clipping so that its rounded output meets the float one.

One trainer for every learned method (spec: fgq, 2.2 and 2.3). Blocks are independent: each gets the float model's
inputs and is compared with the float model's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fgq_bench.calibration.stream import Stage
from fgq_bench.errors import UserError
from fgq_bench.models.layers import Rotary

CLIPS = "clip"  # parameters with this in their name learn at the clips' rate
Forward = Callable[[dict[str, Tensor], Tensor, Rotary | None], Tensor]
"""(parameters, input [batch, tokens, C], rotary) -> the rounded block's output."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn: AdamW, one cosine over all steps down to ``floor``, optional linear warm-up."""

    epochs: int
    batch: int  # clips per step, in the manifest's order
    rate: float
    clip_rate: float
    floor: float  # last rate of every parameter
    warmup: int = 0  # steps from 1 % to the full rate
    decay: float = 0.01  # AdamW's weight decay, of every learned parameter
    relative: bool = True  # divide the loss by its own value

    def factor(self, step: int, steps: int, peak: float) -> float:
        """Learning rate of ``step`` of ``steps`` for parameters whose highest rate is ``peak``."""
        rate = self.floor + (peak - self.floor) * (1 + math.cos(math.pi * step / steps)) / 2
        return rate if step >= self.warmup else rate * (0.01 + 0.99 * step / self.warmup)


@torch.enable_grad()
def reconstruct(
    forward: Forward, parameters: dict[str, Tensor], fixed: set[str], stage: Stage, weights: Tensor, schedule: Schedule
) -> list[float]:
    """Learn ``parameters`` in place on ``stage``; returns the mean loss of every epoch.

    The loss is the mean of ``weights`` * (rounded - float output)^2 over tokens and channels; a ``relative`` one is
    divided by its own value: the gradient of its logarithm.

    Args:
        fixed: names that are not learned.
        weights: [tokens, C] (or broadcastable), not negative.

    Raises:
        UserError: the loss is no longer finite.
    """
    learned = {name: value.requires_grad_() for name, value in parameters.items() if name not in fixed}
    groups = [
        {"params": [v for n, v in learned.items() if (CLIPS in n) == clips], "peak": peak}
        for clips, peak in ((False, schedule.rate), (True, schedule.clip_rate))
    ]
    groups = [group for group in groups if group["params"]]
    history: list[float] = []
    if not groups:
        return history
    optimizer = torch.optim.AdamW(groups, lr=schedule.rate, weight_decay=schedule.decay, fused=True)
    count = len(stage.inputs)
    pairs = [range(start, min(start + schedule.batch, count)) for start in range(0, count, schedule.batch)]
    steps, step = schedule.epochs * len(pairs), 0
    for _ in range(schedule.epochs):
        total = torch.zeros((), device=weights.device)
        for indices in pairs:
            for group in optimizer.param_groups:
                group["lr"] = schedule.factor(step, steps, group["peak"])
            x, target = (torch.cat([each[i] for i in indices]).float() for each in (stage.inputs, stage.outputs))
            loss = (weights * (forward(parameters, x, stage.rotary) - target).square()).mean()
            optimizer.zero_grad()
            (loss / loss.detach() if schedule.relative else loss).backward()
            optimizer.step()
            total += loss.detach()
            step += 1
        history.append(total.item() / len(pairs))
        if not math.isfinite(history[-1]):
            raise UserError(f"{stage.name}: the training diverged (loss {history[-1]}); use smaller learning rates")
    for value in learned.values():
        value.requires_grad_(False)
    return history
