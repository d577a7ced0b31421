"""What might tell beforehand which channels matter: Fisher information by estimator and task, activation variance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.fisher import balance_tasks, load_or_estimate
from fgq_bench.fisher_validity.noise import noise_size
from fgq_bench.models.interface import TOKEN_TYPES
from fgq_bench.task_losses import TASKS

PROBES = 8  # per clip, of ``gauss-newton``
ALL = "all"  # the tasks' balanced sum: what FGQ's weights are made of
VARIANCE, PERMUTED = "variance", "permuted"


@dataclass(frozen=True)
class Activations:
    """Of every block's output on the calibration clips."""

    variance: Tensor  # [blocks, C], over tokens and clips
    noise: float  # root mean square of 4-bit rounding errors, over all blocks
    noise_by_type: Tensor  # [blocks, token types]: mean square of a token's rounding error, over the block's mean


def measure_activations(calibration: Calibration, blocks: list[str]) -> Activations:
    """Variances and noise, in one streamed pass that ends with the last block."""
    variances, squares, by_type = [], [], []
    for stage in calibration.stages():
        if stage.name in blocks:
            count = sum(out[..., 0].numel() for out in stage.outputs)
            mean = torch.stack([out.double().sum((0, 1)) for out in stage.outputs]).sum(0) / count
            error = torch.stack([(out.double() - mean).square().sum((0, 1)) for out in stage.outputs]).sum(0)
            variances.append(error.cpu() / count)
            power = torch.stack([noise_size(out).double().square().mean((0, 2)) for out in stage.outputs]).mean(0)
            squares.append(power.mean().item())
            counts = stage.token_types.bincount(minlength=len(TOKEN_TYPES)).to(power)
            total = torch.zeros_like(counts).index_add_(0, stage.token_types, power)
            by_type.append((total / counts.clamp(min=1) / power.mean()).cpu())
        if len(variances) == len(blocks):
            break
    noise = (sum(squares) / len(squares)) ** 0.5
    return Activations(torch.stack(variances), noise, torch.stack(by_type))


def fisher_predictors(
    calibration: Calibration, blocks: list[str], estimators: list[str], noise_by_type: Tensor
) -> dict[str, Tensor]:
    """Fisher information [blocks, C] summed over tokens as FGQ does, as ``<estimator>:<task>`` and ``<estimator>:all``.

    ``<estimator>*:<task>`` is what the second-order expansion asks for instead: tokens count by the noise that they
    get (mean square by type, ``noise_by_type`` [blocks, token types]). FGQ counts all tokens alike.
    """
    found: dict[str, Tensor] = {}
    for estimator in estimators:
        fisher = load_or_estimate(calibration, blocks, estimator, PROBES, seed=0).double().cpu()  # [tasks, L, types, C]
        plain, weighted = fisher.sum(2), (fisher * noise_by_type[..., None]).sum(2)
        found |= {f"{estimator}:{task}": plain[index] for index, task in enumerate(TASKS)}
        found |= {f"{estimator}*:{task}": weighted[index] for index, task in enumerate(TASKS)}
        found[f"{estimator}:{ALL}"] = balance_tasks(plain, list(TASKS))
    return found
