"""AUC@3/5/15/30 of one row hang together: whatever the errors, they are means of one cumulative histogram.

With c(k) the share of pairs whose error is below k degrees, ``AUC@t = (c(1) + ... + c(t)) / t``. Hence, for thresholds
``0 = t0 < t1 < ... < tn``, the mean accuracy between two of them is

    m(i) = (t(i) AUC@t(i) - t(i-1) AUC@t(i-1)) / (t(i) - t(i-1)) = mean of c(k), t(i-1) < k <= t(i).

c rises and stays within [0, 1], so ``0 <= m(1) <= m(2) <= ... <= m(n) <= 1``. These are *all* inequalities there are:
given such m, the histogram with c(k) = m(i) on the i-th interval has exactly these AUCs. What is known otherwise
follows: AUC rises with t (a mean of more, larger terms), ``AUC@30 <= (1 + AUC@15) / 2`` is m(4) <= 1, and
``AUC@15 >= AUC@5`` is m(3) >= m(2) >= m(1).

* Averages over categories obey them too: they are linear in the AUCs.
* The last bin is closed ([t-1, t], as numpy counts), so c(t) in AUC@t alone also counts the share q of errors of
  exactly t. That raises m(i) by q / (t(i) - t(i-1)) and lowers m(i+1) by q / (t(i+1) - t(i)), while m(i+1) had at least
  q more to begin with: with intervals of two degrees or more nothing is violated.
* Printed values stand for all values that round to them. A row is impossible if no choice inside the rounding
  intervals satisfies every inequality; how far the intervals would have to be widened is a small linear programme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from fgq_bench.reporting.audit.finding import Finding, among, group, is_pose, is_score, row_key, row_name
from fgq_bench.reporting.published import Published, PublishedCell

Ranges = dict[int, tuple[float, float]]
"""Threshold in degrees -> smallest and largest AUC that it may be, as fractions."""

SATURATED = 0.999  # mean accuracy above which a range of thresholds says nothing any more
_TOLERANCE = 1e-9


def shortfall(ranges: Ranges) -> float:
    """By how much every range must be widened on both sides before one histogram fits them all; 0 if one does."""
    thresholds = sorted(ranges)
    accuracy = _accuracy_matrix(thresholds)
    steps = np.vstack([-accuracy[:1], accuracy[:-1] - accuracy[1:], accuracy[-1:]])  # each <= 0, the last <= 1
    count = len(thresholds)
    eye, free, one = np.eye(count), np.zeros((count + 1, 1)), np.ones((count, 1))
    low, high = np.array([ranges[t] for t in thresholds]).T
    solved = linprog(
        np.r_[np.zeros(count), 1.0],  # the widening
        A_ub=np.block([[steps, free], [eye, -one], [-eye, -one]]),
        b_ub=np.r_[np.zeros(count), 1.0, high, -low],
    )
    assert solved.x is not None, "widening everything by 1 always fits"
    widening = float(solved.x[-1])
    return widening if widening > _TOLERANCE else 0.0


def accuracies(ranges: Ranges) -> dict[tuple[int, int], tuple[float, float]]:
    """(a, b] in degrees -> smallest and largest mean accuracy over these thresholds."""
    found: dict[tuple[int, int], tuple[float, float]] = {}
    before, low, high = 0, 0.0, 0.0  # threshold and its sums
    for threshold in sorted(ranges):
        bottom, top = (threshold * value for value in ranges[threshold])
        width = threshold - before
        found[before, threshold] = (bottom - high) / width, (top - low) / width
        before, low, high = threshold, bottom, top
    return found


def _accuracy_matrix(thresholds: list[int]) -> NDArray[np.float64]:
    """Matrix [n, n] from AUCs to mean accuracies between thresholds."""
    sums = np.diag(np.array(thresholds, dtype=np.float64))
    widths = np.diff([0, *thresholds])
    matrix: NDArray[np.float64] = (sums - np.vstack([np.zeros(len(thresholds)), sums[:-1]])) / widths[:, None]
    return matrix


def check_auc_algebra(published: Published) -> list[Finding]:
    """Rows whose AUCs no set of errors can have."""
    findings = []
    for row in _rows(published.cells):
        ranges = _ranges(row)
        if off := shortfall(ranges):
            first = next(iter(row.values()))
            means = "; ".join(
                f"{a + 1}-{b} deg: {low:.5f} to {high:.5f}" for (a, b), (low, high) in accuracies(ranges).items()
            )
            findings.append(
                Finding(
                    "AUC algebra", "impossible", first.paper, f"{first.table}, {first.printed.dataset}", (row_name(first),),
                    "mean accuracy between thresholds rises and stays within 0 to 1", means, off, "AUC",
                )
            )  # fmt: skip
    return findings


def check_saturation(published: Published) -> list[Finding]:
    """Data sets on which practically no pair is beyond the second largest threshold."""
    rows = [row for row in _rows(published.cells) if len(row) > 1]
    findings = []
    for members in group(rows, lambda row: _table_of(next(iter(row.values())))).values():
        last = {row_name(next(iter(row.values()))): (row, accuracies(_ranges(row)).popitem()) for row in members}
        full = {name: low for name, (_, (_, (low, _))) in last.items() if low > SATURATED}
        if not full:
            continue
        first = next(iter(members[0].values()))
        (a, b), (low, _) = last[next(iter(full))][1]
        findings.append(
            Finding(
                "AUC saturation", "suspicious", first.paper, f"{first.table}, {first.printed.dataset} ({first.printed.model})",
                tuple(full), f"some pairs between {a + 1} and {b} degrees, as on other data sets",
                f"mean accuracy over {a + 1}-{b} degrees is at least {low:.5f} for {next(iter(full))}: at most "
                f"{100 * (1 - low) * (b - a):.2f} % of the pairs are beyond {a + 1} degrees; so are {len(full)} of {len(members)} rows",
            )
        )  # fmt: skip
    return findings


def check_between_thresholds(published: Published) -> list[Finding]:
    """Quantized rows that are more accurate than full precision between two thresholds, beyond rounding."""
    findings = []
    for members in group(_rows(published.cells), lambda row: _table_of(next(iter(row.values())))).values():
        exceeding: dict[tuple[int, int], dict[str, float]] = {}
        for row in members:
            full = {t: reference for t, cell in row.items() if (reference := published.full_precision(cell))}
            if len(full) < len(row) or next(iter(row.values())).scheme == "w16a16":
                continue
            theirs = accuracies(_ranges(full))
            for interval, (low, _) in accuracies(_ranges(row)).items():
                if interval[0] and (excess := low - theirs[interval][1]) > _TOLERANCE:
                    exceeding.setdefault(interval, {})[row_name(next(iter(row.values())))] = excess
        first = next(iter(members[0].values()))
        findings += [
            Finding(
                "between thresholds", "suspicious", first.paper, f"{first.table}, {first.printed.dataset} ({first.printed.model})",
                tuple(rows), f"no higher accuracy than full precision between {a + 1} and {b} degrees",
                f"higher in {len(rows)} of {len(members) - 1} rows, most in {max(rows, key=lambda name: rows[name])}",
                max(rows.values()), "accuracy",
            )
            for (a, b), rows in exceeding.items()
        ]  # fmt: skip
    return findings


def known_aucs(published: Published) -> str:
    """Which rows were checked, for the report's head."""
    rows = [row for row in _rows(published.cells) if len(row) > 1]
    return f"{len(rows)} rows with two or more AUCs, of {among(next(iter(row.values())).paper for row in rows)}"


def _rows(cells: Iterable[PublishedCell]) -> list[dict[int, PublishedCell]]:
    """Threshold -> cell, row by row."""
    scores = [cell for cell in cells if is_score(cell) and is_pose(cell)]
    return [{_threshold(cell): cell for cell in row} for row in group(scores, row_key).values()]


def _threshold(cell: PublishedCell) -> int:
    found = re.search(r"@([0-9]+)", cell.metric)
    assert found is not None
    return int(found[1])


def _ranges(row: dict[int, PublishedCell]) -> Ranges:
    return {threshold: (cell.low, cell.high) for threshold, cell in row.items()}


def _table_of(cell: PublishedCell) -> tuple[str, str, str, str]:
    return cell.paper, cell.table, cell.model, cell.printed.dataset
