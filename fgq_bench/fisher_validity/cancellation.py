"""Factors per block cancel in FGQ, and the compensation token is the mean: shown on trainings and tokens.

FGQ divides a block's weights by their mean and its loss by its own value. A factor common to a block's channels is
thus without effect, twice over. Factors in trainings are powers of two, so that equality must hold to the last bit.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.stream import Stage
from fgq_bench.fisher import balance_tasks, channel_weights, normalize_blocks
from fgq_bench.models.interface import ROLES, block_names
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quantizers.base import Job
from fgq_bench.quantizers.compensation import CAMERA, principal_token
from fgq_bench.quantizers.fgq import FGQ, FGQOptions
from fgq_bench.task_losses import TASKS
from fgq_bench.tensor_files import tensors_digest

SCHEME = "w4a4"
TRAINED = FGQOptions(estimator="sum", epochs=2)
BLOCKS, CLIPS = 2, 4  # that the short trainings see
EXPONENT = 10  # factors lie between 2^-10 and 2^10


class _Scaled(FGQ):
    """FGQ with factors [blocks] on the sums over tasks, before a block's are divided by their mean, and on the weights
    after it.
    """

    def __init__(self, options: FGQOptions, before: Tensor, after: Tensor) -> None:
        super().__init__(options)
        self.before, self.after = before, after

    def channel_weights(self, job: Job, stage: Stage) -> Tensor:
        fisher = self._fisher(job).sum(2)
        balanced = balance_tasks(fisher, self.options.tasks.split("+"))
        weights = normalize_blocks(balanced * self.before[:, None].to(balanced)) * self.after[:, None].to(balanced)
        return weights[self._blocks(job).index(stage.name)][None]


def weight_changes(fisher: Tensor, draws: int = 100) -> dict[str, float]:
    """Largest relative change of FGQ's weights over ``draws`` random factors per block on ``fisher`` [tasks, blocks, C].

    For every task alone (rounding is all that is left), and for all together: there a factor moves the tasks' means
    over all blocks (FGQ eq. 12), and with them how the tasks mix inside a block, the only way in which a block's
    magnitude acts at all.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, float] = {}
    for tasks in [*([task] for task in TASKS), list(TASKS)]:
        plain, largest = channel_weights(fisher, tasks), 0.0
        for _ in range(draws):
            exponents = EXPONENT * (2 * torch.rand(fisher.shape[1], generator=generator) - 1)
            factors = torch.exp2(exponents).to(fisher)
            changed = channel_weights(fisher * factors[None, :, None], tasks)
            largest = max(largest, ((changed - plain).abs() / plain).max().item())
        found["+".join(tasks)] = largest
    return found


def artefacts(calibration: Calibration) -> dict[str, str]:
    """SHA-256 of all tensors of the artefact of short FGQ trainings that differ in the factors per block alone.

    ``plain`` runs twice: the training must be repeatable; ``permuted`` weights must give another artefact, or equality
    would mean nothing.
    """
    few = copy.copy(calibration.clips)
    few.manifest = replace(few.manifest, clips=few.manifest.clips[:CLIPS])
    short = Calibration(calibration.model, "cancellation", few, calibration.compute_dtype, None)
    blocks = block_names(calibration.model.linear_groups()["aa"])
    ones, generator = torch.ones(len(blocks)), torch.Generator().manual_seed(0)
    factors = torch.exp2(torch.randint(-EXPONENT, EXPONENT + 1, ones.shape, generator=generator).float())
    targets = [f"{block}.{role}" for block in blocks[:BLOCKS] for role in ROLES]
    job = Job(calibration.model, targets, Scheme.parse(SCHEME), 0, {}, short)
    permuted = TRAINED.model_copy(update={"control": "permuted"})
    variants = {
        "plain": FGQ(TRAINED),
        "plain, again": FGQ(TRAINED),
        "factors before the division by the block's mean": _Scaled(TRAINED, factors, ones),
        "factors after it, on the weights": _Scaled(TRAINED, ones, factors),
        "weights permuted (must differ)": FGQ(permuted),
    }
    with torch.compiler.set_stance("force_eager"):  # a few steps are not worth compiling for
        return {name: _train(job, quantizer) for name, quantizer in variants.items()}


def token_deviation(calibration: Calibration, components: int = 32) -> float:
    """Largest difference of ``principal_token`` from the mean camera token, over the mean's largest entry."""
    for stage in calibration.stages():
        if bool((stage.token_types == CAMERA).all()):
            tokens = torch.cat([x.flatten(0, 1) for x in stage.inputs]).double()
    mean = tokens.mean(0)
    return ((principal_token(tokens, components) - mean).abs().max() / mean.abs().max()).item()


def _train(job: Job, quantizer: FGQ) -> str:
    """Digest of everything that the training decides: codes, scales, transforms, overrides."""
    made = quantizer.quantize(job)
    tensors = {
        f"{name}.{key}": value for name, linear in made.linears.items() for key, value in linear.state_dict().items()
    }
    return tensors_digest(sorted((tensors | made.overrides).items()), "")
