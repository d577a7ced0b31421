"""Means, medians and shares of the same errors bound each other, and lie on the usual side of each other.

Markov's inequality, P(X >= x) <= mean / x for X >= 0, gives (also for averages over scenes, which are linear):

* half of the values reach the median, so ``median <= 2 mean`` (Acc, Comp; for NC of 1 - NC);
* a depth outside the factor 1.25 is off by at least 20 %, so ``AbsRel >= 0.2 (1 - delta<1.25)``.

Distances have a long tail, so their mean is above their median; a single row on the other side is a likely slip.
"""

from __future__ import annotations

from fgq_bench.reporting.audit.finding import Finding, group, is_score, metric_title, row_key, row_name
from fgq_bench.reporting.published import Published, PublishedCell

OTHERS = 3  # rows on the usual side before one on the other is a finding
_TOLERANCE = 1e-12


def check_bounds(published: Published) -> list[Finding]:
    """Pairs of cells that violate Markov's inequality beyond rounding."""
    findings = []
    for mean, median in _means_and_medians(published):
        highest_mean = 2 * (mean.error + mean.half_digit)
        if (off := median.error - median.half_digit - highest_mean) > _TOLERANCE:
            findings.append(_impossible(median, "an error's median is at most twice its mean", mean, off))
    for row in group(filter(is_score, published.cells), row_key).values():
        by_name = {cell.printed.metric: cell for cell in row}
        relative, share = by_name.get("AbsRel"), by_name.get("delta<1.25")
        if relative and share and (off := 0.2 * (1 - share.high) - relative.high) > _TOLERANCE:
            findings.append(_impossible(relative, "AbsRel is at least 0.2 (1 - delta<1.25)", share, off))
    return findings


def _impossible(cell: PublishedCell, rule: str, other: PublishedCell, off: float) -> Finding:
    return Finding(
        "error bounds", "impossible", cell.paper, f"{cell.table}, {cell.printed.dataset}", (row_name(cell),), rule,
        f"{metric_title(cell)} {cell.printed.value}, {metric_title(other)} {other.printed.value}", off, cell.unit,
    )  # fmt: skip


def check_mean_and_median(published: Published) -> list[Finding]:
    """A row whose mean error is below its median where every other row of the column has it above."""
    columns = group(
        (pair for pair in _means_and_medians(published) if not pair[0].higher_is_better),
        lambda pair: (pair[0].paper, pair[0].table, pair[0].model, pair[0].printed.dataset, pair[0].printed.metric),
    )
    findings = []
    for pairs in columns.values():
        odd = [(mean, median) for mean, median in pairs if mean.error < median.error]
        usual = [(mean, median) for mean, median in pairs if mean.error > median.error]
        if len(odd) != 1 or len(usual) < OTHERS or len(odd) + len(usual) < len(pairs):
            continue
        mean, median = odd[0]
        findings.append(
            Finding(
                "mean and median", "suspicious", mean.paper, f"{mean.table}, {mean.printed.dataset}", (row_name(mean),),
                f"mean {mean.printed.metric} above its median, as in the {len(usual)} other rows",
                f"mean {mean.printed.value}, median {median.printed.value}",
                median.error - mean.error - mean.half_digit - median.half_digit, mean.unit,
            )
        )  # fmt: skip
    return findings


def _means_and_medians(published: Published) -> list[tuple[PublishedCell, PublishedCell]]:
    """(mean, median) of Acc, Comp or NC, row by row."""
    pairs = []
    points = [cell for cell in published.cells if is_score(cell) and cell.metric.startswith("pointmap")]
    for row in group(points, lambda cell: (*row_key(cell), cell.printed.metric)).values():
        by_word = {cell.printed.aggregation.split()[-1]: cell for cell in row}
        if set(by_word) == {"mean", "median"}:
            pairs.append((by_word["mean"], by_word["median"]))
    return pairs
