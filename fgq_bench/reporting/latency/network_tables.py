"""Table of blocks, aggregator and whole network: time, speed-up, what ran as integers, memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fgq_bench.kernels.placement import REFERENCE
from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.latency.cells import (
    INTEGERS,
    METHOD,
    Entry,
    command,
    megabytes,
    milliseconds,
    percent,
    speedup,
)
from fgq_bench.reporting.latency.selection import (
    Setting,
    case_label,
    comparison,
    errors,
    grouped,
    of_subjects,
    variants_of,
)
from fgq_bench.reporting.tables import MISSING, Cell, Table
from fgq_bench.results import Result

NETWORKS = ("blocks", "aggregator", "model")
EAGER = ["eager ms [p20, p80]", "eager speed-up"]
HEADS = [
    "integer FLOPs", "kernels", "peak MB allocated", "peak MB reserved", "stored MB (codes + scales + rest)", "vs bf16",
    "resident MB",
]  # fmt: skip


def network_tables(setting: Setting, results: list[Result]) -> list[Table]:
    """One table for every set of variants that was compared; empty without results of networks."""
    tables = []
    for number, run in enumerate(grouped(of_subjects(results, *NETWORKS), comparison).values(), 1):
        cuda = any("eager" in entry for result in run for entry in result.metrics.values())
        heads = ["Case", "Variant", "ms [p20, p80]", "speed-up", *(EAGER if cuda else []), *HEADS]
        rows = [
            [Cell(case_label(result)), Cell(name), *map(Cell, _texts(entry, cuda))]
            for result in run
            for name, entry in variants_of(result).items()
        ]
        what = f"{setting.model} on {setting.machine}; baseline bf16 F.linear, SDPA"
        title = f"Networks: {what}; scope {run[0].conditions['variants']['scope']}"
        tables.append(
            Table(f"latency-networks-{setting.slug}-{number}", title, _caption(setting, run, what, cuda), heads, rows)
        )
    return tables


def _texts(entry: Entry, cuda: bool) -> list[str]:
    execution, peak = entry.get("execution"), entry.get("peak_bytes", {})
    resident = entry.get("resident_bytes")
    eager = entry.get("eager")
    return [
        milliseconds(entry, interval=True),
        speedup(entry),
        *([milliseconds(eager, interval=True), speedup(eager)] if cuda else []),
        percent(execution["integer"]["flops"]) if execution else MISSING,
        ", ".join(f"{name} {count}" for name, count in execution["kernels"].items()) if execution else MISSING,
        megabytes(peak.get("allocated")),
        megabytes(peak.get("reserved")),
        *_stored(entry.get("stored_bytes")),
        megabytes(sum(resident.values())) if resident else MISSING,
    ]


def _stored(sizes: dict[str, int] | None) -> tuple[str, str]:
    """Total MB of the artefact, and how many times as small as bf16."""
    if not sizes:
        return MISSING, MISSING
    return megabytes(sizes["total"]), f"{sizes['total_bf16'] / sizes['total']:.2f}x"


def refusals(results: Iterable[Result]) -> str:
    """A caption's sentence on linears that no kernel took, and why; empty if there are none."""
    found: dict[str, str] = {}
    for name, entry in (item for result in results for item in variants_of(result).items()):
        execution: dict[str, Any] = entry.get("execution", {})
        if REFERENCE in execution.get("kernels", {}):
            reasons = ", ".join(f"{why} ({count})" for why, count in execution["refusals"].items())
            found[name] = f"{name} {execution['kernels'][REFERENCE]} linears: {reasons}"
    return f" Emulated by the reference, because no kernel takes them: {'; '.join(found.values())}." if found else ""


def _caption(setting: Setting, run: list[Result], what: str, cuda: bool) -> str:
    model = run[0].conditions["model"]["hash"]
    weights = model if model.startswith("random") else f"checkpoint {model[:12]}"
    memory = "what the variant holds (resident) plus the peak of one call above what was held before it: " + (
        "allocated by tensors, reserved by torch's allocator"
        if setting.kind == "cuda"
        else "growth of the process's resident set"
    )
    graphs = " CUDA graphs are replayed; 'eager' launches from Python, against eager bf16." if cuda else ""
    return (
        f"{what}; {weights}. Made by `{command(setting, run)}`. {METHOD}{graphs} A {BASELINE} row is the baseline of the "
        "rows below it. Aggregator in bf16, heads in fp32 as the official code has it, in every variant; attention is "
        "never quantized. Integer FLOPs: share of the quantized linears' operations that ran on integer codes; what did "
        f"not was simulated or had 16-bit inputs. Kernels: linears each one runs. Peak MB (10^6 bytes), {memory}. Stored: "
        "packed codes, fp32 scales, transforms, bf16 for all else, against the whole model in bf16. Resident: parameters "
        f"and buffers in memory. {INTEGERS}{refusals(run)}{errors(run)}"
    )
