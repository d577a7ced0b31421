"""The training loop: compiled, seeded, resumable; Muon for the blocks' matrices, AdamW for everything else."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically
from fgq_bench.loaders.procedural_scene import SceneArrays
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.layers import Block
from fgq_bench.models.pickled import load_pickled
from fgq_bench.models.training.batches import Batch, make_batch
from fgq_bench.models.training.drawing import draw_ahead
from fgq_bench.models.training.gradients import Gradients
from fgq_bench.models.training.objective import Training
from fgq_bench.models.training.recipe import knobs_at, total_steps

_log = logging.getLogger(__name__)
Validate = Callable[[AlternatingModel], dict[str, float]]
EMA_DECAY = 0.99  # a short memory: with 0.998 the average lagged behind the decayed weights at the end
CLIP_NORM = 1.0
SAVES = 11


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].removesuffix(": ")


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices of the transformer blocks (for Muon), and all other trainable parameters (for AdamW)."""
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    matrices = {id(each): each for block in blocks for each in block.parameters() if each.ndim == 2}
    return list(matrices.values()), [each for each in model.parameters() if id(each) not in matrices]


class Trainer:
    """State of a run; ``folder`` holds the checkpoint, the loss curve and the validation curve.

    ``workers`` processes draw scenes ahead; which ones a step sees does not depend on their number.
    """

    def __init__(self, training: Training, seed: int, device: torch.device, folder: Path, workers: int = 0) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.device, self.folder = training.recipe, seed, device, folder
        self.model = training.config.build().to(device)
        training.initialise(self.model)
        self.objective = training.objective(training.config).to(device)
        self.average = training.config.build().to(device).eval()
        self.average.load_state_dict(self.model.state_dict())
        matrices, others = split_parameters(self.model)
        self.muon = torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.AdamW(
            [*others, *self.objective.parameters()], lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.optimisers: tuple[torch.optim.Optimizer, ...] = (self.muon, self.adam)
        self.step = 0
        self.workers = workers
        self.scenes: Iterator[SceneArrays] = iter(())
        self.drawn = -1  # the step whose scenes come next
        self.parameters = [*self.model.parameters(), *self.objective.parameters()]
        self.gradients = Gradients(self._losses, self.parameters, device, self.objective.capturable)
        folder.mkdir(parents=True, exist_ok=True)

    def _losses(
        self, images: Tensor, pose_enc: Tensor, depth: Tensor, points: Tensor, frame: Tensor
    ) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            losses: dict[str, Tensor] = self.objective(self.model, Batch(images, pose_enc, depth, points), frame)
        return losses

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns what the curve records."""
        knobs = knobs_at(self.recipe, self.step)
        if self.step != self.drawn:  # the first step, or the first one after a resumption
            self.scenes = draw_ahead(self.recipe, self.seed, self.step, self.workers)
        scenes, self.drawn = next(self.scenes), self.step + 1
        batch = make_batch(scenes, self.model.config.image_size, self.device)
        frame = torch.tensor([self.step % knobs.frames], device=self.device)
        losses = self.gradients(batch.images, batch.pose_enc, batch.depth, batch.points, frame)
        norm = nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        if norm.isfinite():
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = knobs.rate
                optimiser.step()
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        self.step += 1
        parts = {name: value.item() for name, value in losses.items()}
        knob = {name: getattr(knobs, name) for name in ("rate", "studio", "spread", "rooms")}
        return {"step": self.step, "loss": sum(parts.values()), **parts, "norm": norm.item(), **knob}

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "config": self.model.config.to_dict(),
            "recipe": [asdict(phase) for phase in self.recipe],
            "seed": self.seed,
        }
        write_atomically(self.folder / "checkpoint.pt", lambda temporary: torch.save(state, temporary))

    def resume(self) -> bool:
        """Continue from the folder's checkpoint if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = load_pickled(path, self.device)
        try:
            self.step = int(state["step"])
            for name in ("model", "objective", "average", "muon", "adam"):
                getattr(self, name).load_state_dict(state[name])
        except Exception as error:  # whatever a damaged or foreign archive makes of it: torch does not say which
            raise UserError(f"{path}: not a checkpoint of this training ({_first_line(error)}); delete it") from None
        return True

    def run(self, validate: Validate) -> AlternatingModel:
        """Train to the end of the recipe, with ``SAVES`` checkpoints and validations; returns the averaged model."""
        every = -(-total_steps(self.recipe) // SAVES)
        start, began = self.step, time.monotonic()
        with (
            open(self.folder / "curve.csv", "a", newline="") as curve,
            open(self.folder / "scores.jsonl", "a") as scores,
        ):
            writer: csv.DictWriter[str] | None = None
            while self.step < total_steps(self.recipe):
                row = self.train_step()
                if writer is None:
                    writer = csv.DictWriter(curve, list(row))
                    if curve.tell() == 0:
                        writer.writeheader()
                if self.step % 10 == 0:
                    writer.writerow({key: f"{value:.5g}" for key, value in row.items()})
                    curve.flush()
                if self.step % every == 0 or self.step == total_steps(self.recipe):
                    self.save()
                    record = {"step": self.step, "seconds": time.monotonic() - began, **validate(self.average)}
                    scores.write(json.dumps(record) + "\n")
                    scores.flush()
                    _log.info("%s (%.2f s/step)", record, (time.monotonic() - began) / (self.step - start))
        return self.average
