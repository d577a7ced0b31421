"""Speed-up over all linears of a transformer block: their times summed, with a bootstrap over each linear's rounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from fgq_bench.latency.timing import RESAMPLES
from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.latency.selection import grouped, of_subjects
from fgq_bench.reporting.statistics import Interval
from fgq_bench.result_kinds.latency import ROLES
from fgq_bench.results import Result

BARE = " without quantiser"  # suffix of the variant that gets codes
NEAR = 2.0  # largest factor between two numbers of rows whose rates are taken for alike


def block_time(results: Iterable[Result], variant: str) -> float | None:
    """Seconds of ``variant`` over the four linears of a block; None unless all four are there and ran."""
    entries = [result.metrics.get(variant, {}) for result in _block(results)]
    return sum(entry["value"] for entry in entries) if entries and all("value" in e for e in entries) else None


def block_speedup(results: Iterable[Result], variant: str) -> Interval | None:
    """Seconds of the baseline (bf16, or bf16 with the layer before) over ``variant``'s, both summed over the four
    linears: the mean weighted by the work of each.

    The interval resamples rounds, the two variants of a linear together, the linears independently (fixed seed).
    """
    block = _block(results)
    baseline = next(
        (r.metrics[variant]["speedup"]["over"] for r in block if "speedup" in r.metrics.get(variant, {})), BASELINE
    )
    base, other = block_time(block, baseline), block_time(block, variant)
    if base is None or other is None:
        return None
    generator = np.random.default_rng(0)
    sums = np.zeros((2, RESAMPLES))
    for metrics in (result.metrics for result in block):
        samples = [metrics[name]["samples"] for name in (baseline, variant)]
        rounds = min(map(len, samples))
        picks = generator.integers(rounds, size=(RESAMPLES, rounds))
        sums += [np.median(np.array(each)[picks], axis=1) for each in samples]
    low, high = np.quantile(sums[0] / sums[1], (0.025, 0.975))
    return Interval(base / other, float(low), float(high))


def _block(results: Iterable[Result]) -> list[Result]:
    """One result per role in the order of ``ROLES``; empty unless all four are there."""
    by_role = {result.conditions["role"]: result for result in results}
    return [by_role[role] for role in ROLES] if set(ROLES) <= set(by_role) else []


def measured_rate(results: Iterable[Result], scheme: str, rows: int) -> tuple[float, int] | None:
    """Speed-up of a block's linears at ``scheme`` without quantiser, and at how many rows it was measured.

    The stored number of rows nearest to ``rows``, within a factor of two; None if there is none. Schemes without a
    quantiser (16-bit inputs) count as they are.
    """
    found: list[tuple[float, float, int]] = []
    for tokens, layers in grouped(of_subjects(results, "layers"), lambda r: int(r.conditions["tokens"])).items():
        for run in grouped(layers, lambda r: str(r.conditions["variants"])).values():
            mean = block_speedup(run, scheme + BARE) or block_speedup(run, scheme)
            if mean is not None:
                found.append((abs(math.log(tokens / rows)), mean.value, tokens))
    distance, rate, tokens = min(found, default=(math.inf, 0.0, 0))
    return (rate, tokens) if distance <= math.log(NEAR) else None


def schemes_of(results: Sequence[Result]) -> list[str]:
    """Schemes that the layers' results compare."""
    return list(dict.fromkeys(scheme for result in results for scheme in result.conditions["variants"]["schemes"]))
