"""``cost``: what methods cost to calibrate, in seconds and bytes."""

from __future__ import annotations

import logging
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from fgq_bench.commands.given import check_used
from fgq_bench.commands.parsing import check_device
from fgq_bench.commands.printing import print_json, print_rows, print_text
from fgq_bench.cost import Quantization, measure_from_scratch
from fgq_bench.environment import describe
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.results import Result, Store
from fgq_bench.runner import Workspace

_log = logging.getLogger(__name__)
DATASET = "procedural-objects"  # a request names one; nothing of it is read
MISSING = "–"  # not measured
GPU = "GPU MB"
COLUMNS = {  # of the screen: metric, and how much of its unit is one here
    "total s": ("seconds", 1.0),
    "clips": ("clips_seconds", 1.0),
    "stats": ("statistics_seconds", 1.0),
    "Fisher": ("fisher_seconds", 1.0),
    "compile": ("compilation_seconds", 1.0),
    "rest": ("method_seconds", 1.0),
    "CPU s": ("cpu_seconds", 1.0),
    "host MB": ("peak_host_bytes", 1e6),
    GPU: ("peak_device_bytes", 1e6),
}


def measure_costs(request: Request, output: Path, overwrite: bool, as_json: bool) -> int:
    """Measure every method at every scheme, one after the other, and print what each costs.

    What is stored is not measured again, but for failures. Returns the exit code: 1 where one failed. Raises UserError
    for what cannot work, before anything is measured.
    """
    check_device(request.device)
    store = Workspace(output).store
    results, measured = [], 0
    for asked in _quantizations(request):
        empty = asked.empty_result()
        stored = None if overwrite else store.get(empty)
        if stored is None or stored.status == "failed":
            if not as_json:
                print_text(f"measuring {empty.method} {asked.scheme}")
            stored = _measured(asked, empty, store)
            measured += 1
        results.append(stored)
    if as_json:
        print_json([_about(result) for result in results])
    else:
        _print_table(results)
        print_text(f"{measured} measured, {len(results) - measured} already stored; results in {store.root}")
    return int(any(result.status == "failed" for result in results))


def _quantizations(request: Request) -> list[Quantization]:
    """Those that ``request`` asks for. The model is needed for its identity only, and does not stay in memory."""
    runs = plan(request, LoadedModel.load(replace(request, device="cpu")))
    check_used(request, runs)
    return [Quantization.of(run, request) for run in runs]


def _measured(asked: Quantization, empty: Result, store: Store) -> Result:
    """The result, stored; that of a method which fails or does not apply has its error instead of metrics."""
    try:
        result = replace(empty, metrics=measure_from_scratch(asked))
    except Exception as error:
        _log.debug("%s", traceback.format_exc())
        result = empty.ended(error)
    store.put(result, {"environment": describe(), "command": sys.argv})
    return result


def _about(result: Result) -> dict[str, object]:
    return {
        "method": result.method, "scheme": result.conditions["scheme"], "status": result.status,
        "error": result.error, "key": result.key, "metrics": result.metrics,
    }  # fmt: skip


def _print_table(results: list[Result]) -> None:
    """Seconds and megabytes of those that worked, then the errors of the others."""
    done = [result for result in results if result.status == "ok"]
    on_gpu = any("peak_device_bytes" in result.metrics for result in done)
    columns = COLUMNS if on_gpu else {title: column for title, column in COLUMNS.items() if title != GPU}
    rows = [
        {
            "method": result.method,
            "scheme": result.conditions["scheme"],
            **{title: _cell(result, name, unit) for title, (name, unit) in columns.items()},
        }
        for result in done
    ]
    print_rows("cost of calibration", rows)
    for result in results:
        if result.status != "ok":
            print_text(f"{result.method} {result.conditions['scheme']} {result.status}: {result.error}")


def _cell(result: Result, name: str, unit: float) -> str:
    entry = result.metrics.get(name)
    return MISSING if entry is None else f"{entry['value'] / unit:.1f}"
