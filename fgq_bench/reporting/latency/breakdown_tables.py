"""Tables of where the time goes, and of what faster linears can give at most (Amdahl's law) beside what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fgq_bench.latency.breakdown import amdahl
from fgq_bench.latency.variants import BASELINE
from fgq_bench.models.checkpoints import MODELS
from fgq_bench.reporting.latency.cells import command, number, speedup
from fgq_bench.reporting.latency.layer_means import NEAR, measured_rate
from fgq_bench.reporting.latency.network_tables import NETWORKS
from fgq_bench.reporting.latency.selection import Setting, case_label, of_subjects, succeeded
from fgq_bench.reporting.tables import MISSING, Cell, Table
from fgq_bench.results import Result

PARTS = ("linears", "attention", "quantise", "transforms", "heads", "other")


@dataclass(frozen=True)
class Bound:
    """What speeding up the linears of the bf16 network gives at most."""

    free: float  # times as fast if the linears took no time
    at_rate: float | None  # if they ran as fast as the layers alone, without quantiser; None if not stored
    rate: float | None  # that speed-up of the layers
    rows: int | None  # number of rows at which it was measured


def breakdown_tables(setting: Setting, results: list[Result]) -> list[Table]:
    """Both tables; empty where no breakdown is stored."""
    shown = [result for result in of_subjects(results, *NETWORKS) if parts_of(result)]
    if not shown:
        return []
    return [_parts_table(setting, shown), *_bound_table(setting, shown, results)]


def parts_of(result: Result) -> dict[str, dict[str, float]]:
    """Seconds by part of every variant with a breakdown; parts unknown here count as "other"."""
    found = {}
    for name, entry in succeeded(result).items():
        if "breakdown" in entry:
            seconds = dict.fromkeys(PARTS, 0.0)
            for part, value in entry["breakdown"].items():
                seconds[part if part in PARTS else "other"] += value
            found[name] = seconds
    return found


def free_bound(result: Result) -> float | None:
    """How many times as fast bf16 would be if its linears took no time; None without its breakdown."""
    shares = parts_of(result).get(BASELINE)
    return None if shares is None else amdahl(shares, {"linears": math.inf})


def bound(result: Result, scheme: str, results: list[Result]) -> Bound | None:
    """Amdahl's bounds for ``scheme``, from the bf16 breakdown of ``result``; ``results`` holds those of layers."""
    shares, free = parts_of(result).get(BASELINE), free_bound(result)
    if shares is None or free is None:
        return None
    measured = measured_rate(results, scheme, _rows(result))
    rate, rows = measured if measured else (None, None)
    at_rate = None if rate is None else amdahl(shares, {"linears": rate})
    return Bound(free, at_rate, rate, rows)


def _rows(result: Result) -> int:
    """Rows of the inputs of a network's linears: tokens of all frames."""
    c = result.conditions
    config = MODELS[c["model"]["name"]].config
    return int(c["frames"] * ((c["image_size"] // config.patch) ** 2 + config.special_tokens))


def _parts_table(setting: Setting, results: list[Result]) -> Table:
    rows = []
    for result in results:
        for name, seconds in parts_of(result).items():
            total = sum(seconds.values())
            texts = [
                f"{number(1e3 * each)} ({100 * each / total:.0f} %)" if each else MISSING for each in seconds.values()
            ]
            rows.append([Cell(case_label(result)), Cell(name), *map(Cell, texts), Cell(number(1e3 * total))])
    caption = (
        f"{setting.model} on {setting.machine}; bf16 baseline with F.linear and SDPA. Made by `{command(setting, results)}`. "
        "ms and share of one eager pass with a clock at every label, not of the timed rounds: the total need not equal "
        "the median. Linears: of blocks and embeddings, with epilogue; quantise: codes of inputs; transforms: online "
        "ones; heads: all inside them, their linears too; other: norms, GELU, residuals, rotary, copies."
    )
    heads = ["Case", "Variant", *(f"{part} ms" for part in PARTS), "total ms"]
    return Table(
        f"latency-breakdown-{setting.slug}",
        f"Where the time goes: {setting.model}, {setting.machine}",
        caption,
        heads,
        rows,
    )


def _bound_table(setting: Setting, shown: list[Result], results: list[Result]) -> list[Table]:
    rows = []
    for result in shown:
        for name, entry in succeeded(result).items():
            if name == BASELINE or (limit := bound(result, entry.get("scheme", name), results)) is None:
                continue
            rate = MISSING if limit.rate is None else f"{limit.rate:.2f}x at M = {limit.rows}"
            at_rate = MISSING if limit.at_rate is None else f"{limit.at_rate:.2f}x"
            measured = speedup(entry.get("eager", entry))
            texts = [case_label(result), name, f"{limit.free:.2f}x", rate, at_rate, measured]
            rows.append([Cell(text) for text in texts])
    if not rows:
        return []
    caption = (
        f"{setting.model} on {setting.machine}. Amdahl's law on the bf16 breakdown: the whole network's speed-up if its linears "
        "took no time, and if they ran as much faster as a block's four linears do alone, without quantiser (weighted mean "
        f"of the layers' table at the nearest number of rows M, within a factor of {NEAR:g}; {MISSING} where that is not "
        "stored). Beside it what was measured, eager like the breakdown. The bound holds for linears alone: where measured "
        "is higher, the two passes saw a different machine or something else got faster too."
    )
    heads = ["Case", "Variant", "linears free", "layers' rate", "linears at that rate", "measured"]
    return [
        Table(
            f"latency-amdahl-{setting.slug}", f"What faster linears can give: {setting.model}, {setting.machine}", caption,
            heads, rows,
        )
    ]  # fmt: skip
