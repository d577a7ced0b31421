"""``train-tiny``: train an embedded model and score it while it learns."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands.parsing import check_device
from fgq_bench.commands.printing import print_text
from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically
from fgq_bench.loaders.base import Dataset, SceneCache, open_dataset
from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.training.recipe import truncate
from fgq_bench.models.training.tiny_models import TINY_MODELS
from fgq_bench.models.training.trainer import Trainer
from fgq_bench.predictions import predict
from fgq_bench.reporting.figures.training_curve import draw_training_curve
from fgq_bench.suggest import unknown
from fgq_bench.tasks.aggregate import summarize
from fgq_bench.tasks.registry import find_task
from fgq_bench.tasks.scoring import fields_read, score_sequences
from fgq_bench.terminal import PrintableFormatter

FAMILIES = ("procedural-objects", "procedural-rooms")
VALIDATION_SEQUENCES = 48


def validation_sets() -> list[Dataset]:
    """Scenes to watch the training with: a split of their own."""
    cards = [load_card(DatasetCard, name) for name in FAMILIES]
    options = {"split": "validation", "sequences": VALIDATION_SEQUENCES, "frames": 4}
    return [open_dataset(card.model_copy(update={"options": {**card.options, **options}})) for card in cards]


def validate(model: ReconstructionModel, datasets: list[Dataset], scenes: SceneCache) -> dict[str, float]:
    """AUC@30, AUC@15 and depth accuracy per family."""
    tasks = [find_task("pose"), find_task("depth")]
    row = {}
    for dataset in datasets:
        loaded = (scenes.load(dataset, sequence) for sequence in dataset.sequences())
        scores = score_sequences(
            loaded,
            tasks,
            lambda scene: predict(model, scene, "float32", fields_read(tasks)),
            lambda scene: None,  # type: ignore[arg-type, return-value]
        )
        pose, depth = (summarize(task, scores[task.name]) for task in tasks)
        row[f"{dataset.card.name} auc@30"] = pose["auc@30"]["value"]
        row[f"{dataset.card.name} auc@15"] = pose["auc@15"]["value"]
        row[f"{dataset.card.name} delta<1.25"] = depth["delta_1.25_median"]["value"]
    return row


def train(name: str, output: Path, device: str, seed: int, steps: int | None) -> None:
    """Run or continue the recipe of the embedded model ``name``; writes ``NAME.safetensors`` when it is through."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if name not in TINY_MODELS:
        raise unknown("embedded model", name, TINY_MODELS)
    training = TINY_MODELS[name]
    if steps:
        training = replace(training, recipe=truncate(training.recipe, steps))
    try:
        place = torch.device(check_device(device))
        workers = (
            max(1, (os.cpu_count() or 2) // 2 - 1) if place.type == "cuda" else 0
        )  # a GPU is faster than one can draw
        trainer = Trainer(training, seed, place, output, workers)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from None
    if trainer.resume():
        print_text(f"continuing at step {trainer.step}")
    datasets, scenes = validation_sets(), SceneCache()
    model = trainer.run(lambda candidate: validate(candidate, datasets, scenes))
    weights = output / f"{name}.safetensors"
    write_atomically(weights, lambda temporary: save_model(model, temporary))
    draw_training_curve(output / "scores.jsonl", output / "curve")
    print_text(f"wrote {weights} and curve.png")
