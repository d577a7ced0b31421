"""``fisher-validity``: does Fisher information predict what noise costs a task, and what of it reaches the result?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands.calibration import open_calibration
from fgq_bench.commands.parsing import parse_choice, parse_roots
from fgq_bench.commands.printing import print_rows, print_text, working
from fgq_bench.files import write_atomically, write_text
from fgq_bench.fisher import ESTIMATORS
from fgq_bench.fisher_validity import cancellation
from fgq_bench.fisher_validity.injection import MEASURES, Degradation, choose_channels, held_out_clips, inject
from fgq_bench.fisher_validity.noise import BITS
from fgq_bench.fisher_validity.predictors import VARIANCE, fisher_predictors, measure_activations
from fgq_bench.fisher_validity.ranking import rank_blocks, rank_channels
from fgq_bench.fisher_validity.summary import contrast, summarize
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.interface import block_names
from fgq_bench.reporting.figures.fisher_validity import draw_validity
from fgq_bench.reporting.fisher_validity import HEADS, show, to_markdown
from fgq_bench.reporting.page.facts import ValidityFacts, write_facts
from fgq_bench.task_losses import TASKS

NAME = "fisher-validity"


def write_validity(
    model: str, checkpoint: str | None, calibration: str | None, datasets: list[str], roots: list[str],
    estimators: list[str], clips: int, channels: int, seeds: list[int], device: str, shared: Path, output: Path,
) -> None:  # fmt: skip
    """Measure, rank, and write ``fisher-validity.{json,md,png,pdf}`` and the measurements to ``output``."""
    for estimator in estimators:
        parse_choice("--estimator", estimator, ESTIMATORS)
    folders = parse_roots(roots)
    opened = [open_dataset(load_card(DatasetCard, name), folders.get(name)) for name in datasets]
    data, spec = open_calibration(model, checkpoint, calibration, roots, device, shared, datasets)
    for dataset in opened:
        dataset.check_whole()
        data.clips.check_disjoint(dataset)
    held_out = Calibration(data.model, "held out", held_out_clips(opened, clips, folders), data.compute_dtype, None)
    blocks = block_names(data.model.linear_groups()["aa"])
    with working("estimating") as say:
        activations = measure_activations(data, blocks)
        predictors = fisher_predictors(data, blocks, estimators, activations.noise_by_type)
        predictors[VARIANCE] = activations.variance
        width = activations.variance.shape[1]
        chosen = choose_channels(len(blocks), width, channels)
        damage = inject(held_out, blocks, chosen, seeds, activations.noise, lambda block: say(f"disturbed: {block}"))  # fmt: skip
        say("short trainings")
        cancelled = _cancellation(data, predictors, estimators[-1])
        deviation = cancellation.token_deviation(data)
    rankings = {name: values.numpy() for name, values in predictors.items()}
    within, across = rank_channels(rankings, damage, width), rank_blocks(rankings, damage)
    ranked = summarize(within, estimators)
    facts = {
        "command": _command(model, checkpoint, calibration, datasets, roots, estimators, clips, channels, seeds, device, output),
        "conditions": {
            "model": spec.name, "compute_dtype": data.compute_dtype, "manifest": data.clips.manifest.identity(),
            "calibration_clips": len(data.clips), "datasets": datasets, "clips": damage.clips, "seeds": seeds,
            "channels": chosen.shape[1], "width": width, "blocks": len(blocks), "bits": BITS,
            "blocks_that_count": dict(zip(MEASURES, within.blocks.tolist(), strict=True)),
        },
        "channels": ranked, "blocks": summarize(across, estimators),
        "contrast": contrast(within, estimators), "cancellation": cancelled, "token_deviation": deviation,
    }  # fmt: skip
    write_facts(output / f"{NAME}.json", ValidityFacts, facts)
    write_text(output / f"{NAME}.md", to_markdown(facts))
    _write_measurements(damage, predictors, output / "measurements.safetensors")
    rows = ranked["correlation"]
    title = f"{spec.name}: noise in single channels, {len(damage.clips)} clips of {', '.join(datasets)}, {len(seeds)} seeds"  # fmt: skip
    draw_validity(rows, within, estimators, title, output / NAME)
    shown = [{"ranking": name, **{HEADS[m]: show(cell, "{:.2f}") for m, cell in row.items()}} for name, row in rows.items()]  # fmt: skip
    print_rows("Spearman correlation with the damage, over the channels of a block", shown)
    print_text(f"wrote {output / NAME}.{{json,md,png,pdf}} and measurements.safetensors")


def _cancellation(data: Calibration, predictors: dict[str, Tensor], estimator: str) -> dict[str, Any]:
    fisher = torch.stack([predictors[f"{estimator}:{task}"] for task in TASKS])
    return {
        "artefacts": cancellation.artefacts(data), "weight_changes": cancellation.weight_changes(fisher),
        "estimator": estimator, "scheme": cancellation.SCHEME, "epochs": cancellation.TRAINED.epochs,
        "blocks": min(cancellation.BLOCKS, fisher.shape[1]), "clips": min(cancellation.CLIPS, len(data.clips)),
    }  # fmt: skip


def _write_measurements(damage: Degradation, predictors: dict[str, Tensor], path: Path) -> None:
    """Everything that the tables are made of; errors of single channels as means over the seeds."""
    tensors = {
        "channels": damage.channels,
        "by_channel": damage.by_channel.mean(2).float(),
        "by_block": damage.by_block.float(),
        **{f"predictor.{name}": values.float() for name, values in predictors.items()},
    }
    plain = {name: value.contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(plain, temporary))


def _command(
    model: str, checkpoint: str | None, calibration: str | None, datasets: list[str], roots: list[str],
    estimators: list[str], clips: int, channels: int, seeds: list[int], device: str, output: Path,
) -> str:  # fmt: skip
    """What makes the folder again, every option spelled out."""
    words = ["fgq-bench", NAME, "-o", str(output), "--model", model]
    words += ["--checkpoint", checkpoint] if checkpoint else []
    words += ["--calibration", calibration] if calibration else []
    repeated = {"-d": datasets, "--root": roots, "--estimator": estimators, "--seed": list(map(str, seeds))}
    words += [word for option, values in repeated.items() for value in values for word in (option, value)]
    return shlex.join([*words, "--clips", str(clips), "--channels", str(channels), "--device", device])
