"""``parity``: compare a backend with ``reference`` on a method's artefact."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from fgq_bench.commands.parsing import check_device
from fgq_bench.commands.printing import console, print_json, print_rows
from fgq_bench.compiling import compiled
from fgq_bench.kernels.registry import find_backend
from fgq_bench.parity import COMPARED, end_to_end, layer_parity
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.runner import Workspace


def check_parity(request: Request, output: Path, as_json: bool) -> None:
    """Print, per method and scheme, how many codes and sums differ, and how far predictions move."""
    check_device(request.device)
    loaded = LoadedModel.load(request)
    workspace = Workspace(output)
    rows = []
    for run in plan(request, loaded):
        if run.scheme.is_float:
            continue
        backend = find_backend(run.backend)
        console.print(f"{run.label}: {run.method.label} {run.scheme} on {backend.name}", markup=False)
        quantized = compiled(workspace.artifacts, workspace.calibrations, run)
        scenes = [workspace.scenes.load(run.dataset, sequence) for sequence in run.dataset.sequences()]
        dtype = run.loaded.spec.compute_dtype
        images = scenes[0].images[None].to(loaded.model.device)
        layers = list(layer_parity(quantized, loaded.model, images, backend, dtype))
        sequences = list(end_to_end(quantized, loaded.model, scenes, backend, dtype))
        row = {
            "method": run.method.label, "scheme": str(run.scheme), "layers": f"{len(layers)} of {len(quantized.linears)}",
            "codes differ": max((each.codes or 0.0 for each in layers), default=0.0),
            "sums differ": max((each.sums or 0.0 for each in layers), default=0.0),
            "outputs": max((each.output for each in layers), default=0.0),
        }  # fmt: skip
        for name in COMPARED:
            ratios = np.array([each.ratios[name] for each in sequences])
            row |= {f"{name} median": float(np.median(ratios)), f"{name} p99": float(np.quantile(ratios, 0.99))}
        rows.append(row)
        if as_json:
            row["by_layer"] = [asdict(each) for each in layers]
    if as_json:
        print_json(rows)
        return
    print_rows(
        "backend against reference",
        [{k: f"{v:.2g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows],
    )
