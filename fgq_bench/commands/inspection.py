"""``inspect``: what is inside a model."""

from __future__ import annotations

from pathlib import Path

from fgq_bench import api
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.commands.parsing import check_device, root_of
from fgq_bench.commands.printing import print_rows
from fgq_bench.diagnostics import token_magnitudes, without_views
from fgq_bench.files import write_json
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.checkpoints import find_model
from fgq_bench.reporting.figures.magnitudes import draw_magnitudes

MAGNITUDE_SEQUENCES = 16


def inspect_model(
    output: Path, model: str, checkpoint: str | None, dataset: str, roots: list[str], limit: int | None, device: str
) -> None:
    """Write ``inspect.json`` and the magnitude figure to ``output``; prints both."""
    network = api.load_model(model, checkpoint, check_device(device))
    data = open_dataset(load_card(DatasetCard, dataset), root_of(dataset, roots), limit)
    data.check_whole()
    scenes = [data.load(sequence) for sequence in data.sequences()[:MAGNITUDE_SEQUENCES]]
    magnitudes = token_magnitudes(network, scenes)
    blind = without_views(network, (scenes[0].images.shape[-2], scenes[0].images.shape[-1]))
    auc = {
        name: api.score_dataset(candidate, data, ["pose"], compute_dtype=find_model(model).compute_dtype)["pose"][
            "auc@30"
        ]
        for name, candidate in (("all views", network), ("own frame only", blind))
    }
    write_json(output / "inspect.json", {"model": model, "dataset": dataset, "auc@30": auc, "magnitudes": magnitudes})
    draw_magnitudes(magnitudes, f"{model} on {dataset}, {len(scenes)} sequences", output / "magnitudes")
    print_rows(
        "activation magnitudes",
        [{**row, "mean": f"{row['mean']:.2f}", "max": f"{row['max']:.1f}"} for row in magnitudes],
    )
    rows = [
        {"attention of the global blocks": name, "AUC@30": f"{e['value']:.3f} [{e['ci_low']:.3f}, {e['ci_high']:.3f}]"}
        for name, e in auc.items()
    ]
    print_rows(f"pose on {dataset}", rows)
