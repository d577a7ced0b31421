"""A page with every section: the committed summary and latency, and predictions made of a scene's own truth."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from fgq_bench.cards import ReportCard, content_root, load_card
from fgq_bench.files import write_json
from fgq_bench.fisher_validity.ranking import CEILING
from fgq_bench.fisher_validity.summary import Row
from fgq_bench.geometry import compose_rigid, encode_pose, invert_rigid
from fgq_bench.planning import Run
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.page.page import write_page
from fgq_bench.reporting.page.validity_chart import KINDS
from fgq_bench.reporting.reports import build_report, plan_reports
from fgq_bench.results import Store
from fgq_bench.tasks.base import SequencePrediction

LATEST = content_root() / "reports" / "latest"
BLOCKS = ("aggregator.frame_blocks.0", "aggregator.global_blocks.0")
MANIFEST = {"manifest": "four", "hash": "0"}


def plan_summary() -> list[tuple[ReportCard, list[Run]]]:
    """The summary of 32 sequences and one seed, with pictures."""
    card = load_card(ReportCard, "summary").model_copy(update={"pictures": ["rtn w4a4"], "seeds": [0], "sequences": 32})
    return plan_reports([card], None)


def write_sample(folder: Path, planned: list[tuple[ReportCard, list[Run]]]) -> Path:
    """Write ``folder``/report/index.html with all that it reads."""
    cache = PredictionCache(folder / "cache")
    card, runs = planned[0]
    for model in (card.model, *card.also_on):
        fill_cache(cache, [run for run in runs if run.loaded.spec.name == model])
    write_fisher(folder / "report" / "fisher")
    write_sensitivity(folder / "report" / "sensitivity")
    write_validity(folder / "report" / "fisher-validity")
    page = folder / "report" / "index.html"
    store = Store(LATEST / "results")
    write_page(page, [build_report(card, runs, store) for card, runs in planned], store, cache)
    return page


def fill_cache(cache: PredictionCache, runs: list[Run]) -> None:
    """The truth of the first sequence, the more wrong in depth the later the row; the last row stays without."""
    dataset = runs[0].dataset
    sequence = dataset.sequences()[0]
    scene = dataset.load(sequence)
    assert scene.extrinsics is not None
    assert scene.intrinsics is not None
    assert scene.depth is not None
    first = invert_rigid(scene.extrinsics[:1]).expand_as(scene.extrinsics)  # its camera is the world of predictions
    cameras = compose_rigid(scene.extrinsics, first)
    pose = encode_pose(cameras, scene.intrinsics, (scene.images.shape[-2], scene.images.shape[-1])).float()
    ramp = torch.linspace(-1, 1, scene.depth.shape[-1])
    for place, run in enumerate(runs[:-1]):
        depth = (scene.depth * (1 + 0.02 * place * ramp)).half()
        cache.put(run.prediction_key(sequence), SequencePrediction(pose, depth))


def write_fisher(folder: Path) -> None:
    """F [3 tasks, 2 blocks, 3 token types, 5 channels] with a zero in it."""
    values = torch.arange(90, dtype=torch.float32).reshape(3, 2, 3, 5)
    folder.mkdir(parents=True)
    save_file({"fisher": values}, folder / "fisher.safetensors")
    share = dict.fromkeys(("camera", "register", "patch"), 1 / 3)
    facts = {
        "model": "vggt-tiny", "manifest": MANIFEST, "estimator": "sum", "probes": 1, "seed": 0,
        "blocks": [{"block": block, "camera": 1.0, "depth": 2.0, "points": 0.0} for block in BLOCKS],
        "share_by_token_type": dict.fromkeys(("camera", "depth", "points"), share),
    }  # fmt: skip
    (folder / "fisher.json").write_text(json.dumps(facts))


def write_sensitivity(folder: Path) -> None:
    """Two blocks, whole and by one linear; the second's last error is zero."""
    parts = [
        {"stage": block, "kind": kind, "camera": 0.01 * (place + 1), "depth": 0.02, "points": 0.03 * (1 - place)}
        for place, block in enumerate(BLOCKS)
        for kind in ("all", "attn.qkv")
    ]
    facts = {
        "model": "vggt-tiny", "scheme": "w4a16g64", "scope": "aa", "manifest": MANIFEST, "clips": 8,
        "protected": [BLOCKS[0]], "parts": parts,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "sensitivity.json").write_text(json.dumps(facts))


def write_validity(folder: Path) -> None:
    """Two estimators on four measures; ``depth`` lies below zero, the variance's interval far below."""
    fisher = {f"{name}, {kind}": _correlations(0.8) for name in ("sum", "gauss-newton") for kind in KINDS}
    controls = {"variance": _correlations(0.1, reach=0.6), "permuted": _correlations(0.0), CEILING: _correlations(0.9)}
    ranked = {
        "correlation": fisher | controls, "by_task": {"sum, camera": _correlations(0.3)},
        "over_variance": {"sum": _correlations(0.7)}, "over_other_tasks": {"sum": _correlations(0.5)},
    }  # fmt: skip
    artefacts = {
        "plain": "a" * 64, "plain, again": "a" * 64, "factors before": "a" * 64, "factors after": "a" * 64,
        "weights permuted (must differ)": "b" * 64,
    }  # fmt: skip
    facts = {
        "command": "fgq-bench fisher-validity -o FOLDER",
        "conditions": {
            "model": "vggt-tiny", "compute_dtype": "float32", "manifest": MANIFEST, "calibration_clips": 4,
            "datasets": ["procedural-rooms"], "clips": ["a", "b"], "seeds": [0], "channels": 4, "width": 8, "blocks": 2,
            "bits": 4, "blocks_that_count": {"rotation": 2, "centre": 2, "depth": 2, "points": 1},
        },
        "channels": ranked, "blocks": ranked, "contrast": {"sum, own task": _correlations(2.0)},
        "cancellation": {
            "artefacts": artefacts, "weight_changes": {"camera": 1e-16, "camera+depth": 1.5, "depth": 2e-16},
            "estimator": "sum", "scheme": "w4a4", "epochs": 2, "blocks": 2, "clips": 4,
        },
        "token_deviation": 1.25e-17,
    }  # fmt: skip
    write_json(folder / "fisher-validity.json", facts)


def _correlations(value: float, reach: float = 0.05) -> Row:
    signs = {"rotation": 1, "centre": 1, "depth": -1, "points": 1}
    return {
        name: {"value": sign * value, "ci_low": sign * value - reach, "ci_high": sign * value + reach}
        for name, sign in signs.items()
    }
