"""``parity``: compare a backend with ``reference`` on a method's artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fgq_bench.commands.given import check_used
from fgq_bench.commands.parsing import check_device
from fgq_bench.commands.printing import print_json, print_rows, print_text
from fgq_bench.compiling import compiled
from fgq_bench.errors import UserError
from fgq_bench.kernels.registry import find_backend
from fgq_bench.parity import COMPARED, end_to_end, layer_parity
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.quant.scheme import Scheme
from fgq_bench.runner import Workspace

MISSING = "–"  # not compared: no layer taken, or no codes in it


def check_parity(request: Request, output: Path, as_json: bool) -> int:
    """Print, per method and scheme, how many codes and sums differ, and how far predictions move.

    Returns the exit code: 1 where an integer sum differs. Raises UserError where there is nothing to compare.
    """
    check_device(request.device)
    if not find_backend(request.backend).kernels:
        raise UserError(f"--backend {request.backend}: is what others are compared with; choose one with kernels")
    if all(Scheme.parse(text).is_float for text in request.schemes):
        raise UserError("--scheme: name one that quantizes, for example -b w4a4")
    loaded = LoadedModel.load(request)
    workspace = Workspace(output)
    rows = []
    runs = plan(request, loaded)
    check_used(request, runs)
    for run in runs:
        run.dataset.check_whole()
        if run.scheme.is_float:
            continue
        backend = find_backend(run.backend)
        if not as_json:
            print_text(f"{run.label}: comparing {backend.name}")
        quantized = compiled(workspace.artifacts, workspace.calibrations, run)
        scenes = [workspace.scenes.load(run.dataset, sequence) for sequence in run.dataset.sequences()]
        dtype = run.loaded.spec.compute_dtype
        images = scenes[0].images[None].to(loaded.model.device)
        layers = list(layer_parity(quantized, loaded.model, images, backend, dtype))
        sequences = list(end_to_end(quantized, loaded.model, scenes, backend, dtype))
        row: dict[str, Any] = {
            "method": run.method.label, "scheme": str(run.scheme), "layers": f"{len(layers)} of {len(quantized.linears)}",
            "codes differ": _largest([each.codes for each in layers]),
            "sums differ": _largest([each.sums for each in layers]),
            "outputs": _largest([each.output for each in layers]),
        }  # fmt: skip
        for name in COMPARED:
            ratios = np.array([each.ratios[name] for each in sequences])
            row |= {f"{name} median": float(np.median(ratios)), f"{name} p99": float(np.quantile(ratios, 0.99))}
        rows.append(row)
        if as_json:
            row["by_layer"] = [asdict(each) for each in layers]
    wrong = any(row["sums differ"] for row in rows)
    if as_json:
        print_json(rows)
        return int(wrong)
    print_rows(
        "backend against reference",
        [
            {k: f"{v:.2g}" if isinstance(v, float) else (MISSING if v is None else v) for k, v in row.items()}
            for row in rows
        ],
    )
    return int(wrong)


def _largest(values: Sequence[float | None]) -> float | None:
    """The largest that there is; None where nothing was compared."""
    return max((value for value in values if value is not None), default=None)
