"""What must follow from a change of conditions: more frames, another data set, fewer bytes."""

from __future__ import annotations

import re
from itertools import pairwise
from statistics import median

from fgq_bench.reporting.audit.finding import Finding, among, column_key, group, is_score, metric_title, row_name
from fgq_bench.reporting.published import Published, PublishedCell

FEW, MANY = 3, 10  # frames that a trend needs; rows that a usual change needs
LINEAR_WEIGHTS, ALL_WEIGHTS = (
    48 * 12 * 1024**2,
    1_256_537_516,
)  # linears of VGGT-1B's 48 aggregator blocks; the whole network
_RATIO = 1.3  # a latency ratio that differs more between data sets cannot be rounding or image shape


def check_more_frames(published: Published) -> list[Finding]:
    """Rows that do not follow full precision from 10 to 20 frames, and those that follow it beyond all others."""
    findings = []
    scores = [cell for cell in published.cells if is_score(cell)]
    for (paper, table, _), cells in group(scores, lambda cell: (cell.paper, cell.table, cell.model)).items():
        changes = {
            metric: {row_name(many): 100 * (many.value - few.value) for few, many in pairs}
            for metric, pairs in group(_by_frames(cells), lambda pair: metric_title(pair[0])).items()
        }
        full = next((row_name(cell) for cell in cells if cell.is_full_precision), "")
        changes = {name: of for name, of in changes.items() if full in of and len(of) > MANY}
        if changes:
            leaders = {max((row for row in of if row != full), key=lambda row: of[row]) for of in changes.values()}
            findings.append(
                Finding(
                    "more frames", "suspicious", paper, f"{table}, 10 and 20 frames", tuple(sorted(leaders)),
                    "quantized rows follow full precision", "; ".join(_followers(name, of, full) for name, of in changes.items()),
                )
            )  # fmt: skip
    return findings


def _by_frames(cells: list[PublishedCell]) -> list[tuple[PublishedCell, PublishedCell]]:
    """(10 frames, 20 frames) of one row and metric."""
    later = {(row_name(cell), cell.metric): cell for cell in cells if cell.protocol == "quantvggt-20"}
    return [
        (cell, later[row_name(cell), cell.metric])
        for cell in cells
        if cell.protocol == "quantvggt" and (row_name(cell), cell.metric) in later
    ]


def _followers(metric: str, changes: dict[str, float], full: str) -> str:
    rows = {name: change for name, change in changes.items() if name != full}
    first, second = sorted(rows, key=lambda name: -rows[name])[:2]
    still = sum(abs(change) < 0.05 for change in rows.values())
    return (
        f"{metric}: full precision {changes[full]:+.1f}, median of {len(rows)} rows {median(rows.values()):+.1f} ({still} print the "
        f"same number twice), {first} {rows[first]:+.1f}, the next, {second}, {rows[second]:+.1f}"
    )


def check_speed_by_frames(published: Published) -> list[Finding]:
    """Speed-ups that grow with the number of frames although attention, which nobody quantizes, grows faster."""
    findings = []
    speed = [cell for cell in published.cells if cell.metric == "latency_speedup_x" and _frames(cell)]
    for cells in group(speed, lambda cell: (cell.paper, cell.table, row_name(cell))).values():
        steps = sorted(cells, key=_frames)
        if len(steps) >= FEW and all(a.value < b.value for a, b in pairwise(steps)):
            first = steps[0]
            findings.append(
                Finding(
                    "speed by frames", "suspicious", first.paper, first.table, (row_name(first),),
                    "a speed-up that falls with frames: global attention is quadratic in them and stays in 16 bits",
                    among(f"{_frames(cell)} frames: {cell.printed.value}x" for cell in steps),
                    steps[-1].low - first.high, "x",
                )
            )  # fmt: skip
    return findings


def _frames(cell: PublishedCell) -> int:
    found = re.search(r"([0-9]+) (?:input )?frames", cell.printed.dataset)
    return int(found[1]) if found else 0


def check_latency_ratios(published: Published) -> list[Finding]:
    """Rows whose latency, relative to full precision, depends on the data set, at one number of frames and one machine."""
    findings = []
    latencies = [cell for cell in published.cells if cell.metric == "latency_s" and published.relative(cell)]
    for cells in group(latencies, lambda cell: (cell.paper, cell.table, row_name(cell))).values():
        ratios = {cell.printed.dataset: found.ratio for cell in cells if (found := published.relative(cell))}
        if len(ratios) > 1 and max(ratios.values()) > _RATIO * min(ratios.values()):
            first = cells[0]
            findings.append(
                Finding(
                    "latency by data set", "suspicious", first.paper, first.table, (row_name(first),),
                    "one latency relative to full precision, as the other rows of the table have",
                    among(f"{name}: {ratio:.2f}x full precision's" for name, ratio in ratios.items()),
                )
            )  # fmt: skip
    return findings


def check_memory(published: Published) -> list[Finding]:
    """The share of weights that a printed memory reduction implies, against the share that is quantized."""
    share = LINEAR_WEIGHTS / ALL_WEIGHTS
    findings = []
    memory = [c for c in published.cells if c.metric == "memory_reduction_x" and c.paper == "quantvggt" and c.value > 1]
    for cells in group(memory, lambda cell: (cell.printed.bits, cell.printed.value)).values():
        cell = cells[0]
        bits = int(re.sub(r"W([0-9]+)A.*", r"\1", cell.printed.bits))
        implied, possible = ((1 - 1 / reduction) / (1 - bits / 16) for reduction in (cell.low, cell.high))
        limit = 1 / (1 - share * (1 - bits / 16))
        findings.append(
            Finding(
                "memory", "suspicious", cell.paper, among(each.table for each in cells), tuple(dict.fromkeys(map(row_name, cells))),
                f"at most {limit:.2f}x if the aggregator's linears, {100 * share:.0f} % of all weights, go from 16 to {bits} bits",
                f"{cell.printed.value}x: {100 * implied:.1f} to {100 * possible:.1f} % of all weights would have to be quantized",
                cell.low - limit, "x",
            )
        )  # fmt: skip
    return findings


def check_best_setting(published: Published) -> list[Finding]:
    """Settings that beat the chosen one in their own sweep; another seed is no setting."""
    findings = []
    scores = [cell for cell in published.cells if is_score(cell) and cell.method.startswith("quantvggt")]
    for cells in group(scores, column_key).values():
        chosen = next((cell for cell in cells if cell.method == "quantvggt" and cell.scheme == "w4a4"), None)
        swept = [cell for cell in cells if re.search(r" @| (?!seed=)\w+=", cell.method)]
        better = [cell for cell in swept if chosen and cell.better_than(chosen)]
        if chosen and better:
            findings.append(
                Finding(
                    "best setting", "suspicious", chosen.paper, f"{chosen.table}, {chosen.printed.dataset}", tuple(map(row_name, better)),
                    f"no setting beats the chosen one, {metric_title(chosen)} {chosen.printed.value}",
                    among(f"{row_name(cell)} {cell.printed.value}" for cell in better),
                    max(abs(cell.value - chosen.value) - cell.half_digit - chosen.half_digit for cell in better), chosen.unit,
                )
            )  # fmt: skip
    return findings
