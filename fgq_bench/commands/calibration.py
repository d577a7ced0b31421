"""``calibrate`` and ``fisher``: what methods learn from."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from fgq_bench import api, fisher
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.cost import estimate
from fgq_bench.calibration.manifest import choose_manifest, open_clips
from fgq_bench.commands.given import check_roots
from fgq_bench.commands.parsing import check_device, parse_choice, parse_roots
from fgq_bench.commands.printing import print_json, print_rows, print_text, working
from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically
from fgq_bench.models.checkpoints import ModelSpec, find_model, model_hash
from fgq_bench.models.interface import TOKEN_TYPES, block_names
from fgq_bench.quant.scopes import target_linears
from fgq_bench.reporting.figures.fisher_maps import draw_fisher
from fgq_bench.reporting.page.facts import FisherFacts, write_facts
from fgq_bench.task_losses import TASKS


def calibrate(
    model: str, checkpoint: str | None, calibration: str | None, roots: list[str], scope: str, device: str, output: Path
) -> None:
    """Capture the statistics of every linear of ``scope``; later runs with this output find them."""
    data, spec = open_calibration(model, checkpoint, calibration, roots, device, output / "cache" / "calibration")
    targets = target_linears(data.model, scope)
    began, stages = time.monotonic(), 0
    with working("calibrating") as say:

        def advance(stage: str) -> None:
            nonlocal stages
            stages += 1
            say(f"calibrating: {stage}")

        data.capture(targets, advance)
    size = sum(path.stat().st_size for path in data.folder.rglob("*.safetensors"))
    on_gpu = data.model.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = {
        "model": spec.name, "manifest": data.clips.manifest.name, "clips": len(data.clips), "linears": len(targets),
        "stages": stages, "seconds": f"{time.monotonic() - began:.1f}", "peak memory": f"{peak / 1e9:.2f} GB",
        "kept": f"{size / 1e6:.1f} MB in {data.folder}",
    }  # fmt: skip
    print_rows("calibration", [{"what": key, "value": value} for key, value in facts.items()])


def dry_run(model: str, scope: str, sequences: int, frames: int, size: int | None, device: str, as_json: bool) -> None:
    """Print what a calibration pass would cost; needs no weights and no data."""
    spec = find_model(model)
    check_device(device)
    pixels = size or spec.config.image_size
    if pixels % spec.config.patch:
        raise UserError(f"--size {pixels}: must be a multiple of the patch size {spec.config.patch}")
    with torch.device("meta"):
        network = spec.config.build().eval()
        images = torch.zeros(1, frames, 3, pixels, pixels)
    cost = estimate(network, target_linears(network, scope), sequences, images, device, spec.compute_dtype)
    if as_json:
        print_json({**asdict(cost), "peak_bytes": cost.peak_bytes})
        return
    facts = {
        "model": f"{spec.name}, scope {scope}", "clips": f"{sequences} of {frames} frames at {pixels} x {pixels} (assumed; no manifest is read)",
        "stages": cost.stages, "forward": f"{cost.forward_flops / 1e12:.2f} TFLOP ({spec.compute_dtype})",
        "statistics": f"{cost.statistics_flops / 1e12:.2f} TFLOP (float32)",
        "time on this device": f"{cost.seconds:.0f} s ({cost.seconds / 3600:.2f} h), from its matrix-product speed",
        "weights": f"{cost.model_bytes / 1e9:.2f} GB", "tokens of all clips": f"{cost.stream_bytes / 1e9:.2f} GB",
        "statistics of a stage": f"{cost.statistics_bytes / 1e9:.2f} GB", "peak memory": f"{cost.peak_bytes / 1e9:.2f} GB",
        "kept on disk": f"{cost.disk_bytes / 1e9:.2f} GB",
    }  # fmt: skip
    print_rows("calibration (estimate)", [{"what": key, "value": value} for key, value in facts.items()])


def write_fisher(
    model: str, checkpoint: str | None, calibration: str | None, roots: list[str], estimator: str, probes: int,
    seed: int, device: str, shared: Path, output: Path,
) -> None:  # fmt: skip
    """Estimate the tasks' Fisher information; write tensor, summary and heat-maps to ``output``."""
    parse_choice("--estimator", estimator, fisher.ESTIMATORS)
    data, spec = open_calibration(model, checkpoint, calibration, roots, device, shared)
    blocks = block_names(data.model.linear_groups()["aa"])
    with working("estimating"):
        found = fisher.load_or_estimate(data, blocks, estimator, probes, seed).cpu()
    write_atomically(output / "fisher.safetensors", lambda path: save_file({"fisher": found.contiguous()}, path))
    by_block = found.sum((2, 3))
    rows = [
        {"block": block, **{task: by_block[k, index].item() for k, task in enumerate(TASKS)}}
        for index, block in enumerate(blocks)
    ]  # fmt: skip
    shares = found.sum((1, 3)) / found.sum((1, 2, 3))[:, None]
    types = {task: dict(zip(TOKEN_TYPES, shares[k].tolist(), strict=True)) for k, task in enumerate(TASKS)}
    facts = {
        "model": spec.name, "manifest": data.clips.manifest.identity(), "estimator": estimator, "probes": probes,
        "seed": seed, "blocks": rows, "share_by_token_type": types,
    }  # fmt: skip
    write_facts(output / "fisher.json", FisherFacts, facts)
    title = f"{spec.name}, {estimator}, {data.clips.manifest.name}"
    files = draw_fisher(found, blocks, title, output / "fisher")
    print_rows("Fisher information by block", [{key: value if key == "block" else f"{value:.3g}" for key, value in row.items()} for row in rows])  # fmt: skip
    print_text(
        f"wrote {output / 'fisher.safetensors'} [tasks, blocks, token types, channels], fisher.json, {files[0].path.name}"
    )


def open_calibration(
    model: str, checkpoint: str | None, calibration: str | None, roots: list[str], device: str, folder: Path | None,
    scored: Iterable[str] = (),
) -> tuple[Calibration, ModelSpec]:  # fmt: skip
    """A model on its calibration manifest, or on the one asked for; ``folder`` keeps what is captured.

    Raises UserError where ``roots`` names a data set that is neither calibrated on nor ``scored``.
    """
    spec, folders = find_model(model), parse_roots(roots)
    clips = open_clips(choose_manifest(calibration, spec.calibration, spec.name), folders)
    check_roots(folders, {*clips.datasets, *scored})
    network = api.load_model(model, checkpoint, check_device(device))
    return Calibration(network, model_hash(network), clips, spec.compute_dtype, folder), spec
