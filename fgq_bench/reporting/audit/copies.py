"""Rows that print the same numbers for different things: other settings, other conditions, another paper."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import combinations

from fgq_bench.reporting.audit.finding import Finding, among, group, row_name
from fgq_bench.reporting.published import Published, PublishedCell

MANY = 4  # shared cells that do not agree by chance
Row = list[PublishedCell]


def check_copies(published: Published) -> list[Finding]:
    """Settings of one paper that print identical rows (two shared cells or more) wherever both are printed."""
    pairs: dict[tuple[str, str, str], list[tuple[Row, Row]]] = {}
    for one, other in combinations(_rows(published), 2):
        a, b = one[0], other[0]
        if (a.paper, a.model) == (b.paper, b.model) and (a.method, a.scheme) != (b.method, b.scheme):
            names = sorted([f"{a.method} {a.scheme}", f"{b.method} {b.scheme}"])
            if len(_shared(one, other, _full_name)) > 1:
                pairs.setdefault((a.paper, names[0], names[1]), []).append((one, other))
    same = [found for found in pairs.values() if all(_identical(one, other, _full_name) for one, other in found)]
    return [_finding(found) for found in same]


def _full_name(cell: PublishedCell) -> tuple[str, str | None, str]:
    return cell.dataset, cell.protocol, cell.metric


def _finding(found: list[tuple[Row, Row]]) -> Finding:
    firsts = [row[0] for pair in found for row in pair]
    values = max((_shared(one, other, _full_name) for one, other in found), key=len)
    return Finding(
        "copies", "inconsistent" if len(values) >= MANY else "suspicious", firsts[0].paper,
        f"{among(cell.table for cell in firsts)}, {among(cell.printed.dataset for cell in firsts)}",
        tuple(dict.fromkeys(map(row_name, firsts))), "other settings give other numbers",
        f"all {len(values)} shared cells are identical: {' / '.join(value for value, _ in values)}",
    )  # fmt: skip


def check_borrowed(published: Published) -> list[Finding]:
    """Rows of one paper that another prints, to the digit, under other conditions."""
    findings = []
    for one, other in combinations(_rows(published), 2):
        a, b = one[0], other[0]
        if a.paper == b.paper or (a.method, a.scheme, a.model) != (b.method, b.scheme, b.model) or a.is_full_precision:
            continue
        shared = _identical(one, other, lambda cell: cell.metric)
        if shared and a.printed.dataset != b.printed.dataset:
            findings.append(
                Finding(
                    "copies", "suspicious", b.paper, f"{b.table}, {b.printed.dataset}", (row_name(b),),
                    f"other numbers than {a.paper}'s own ({a.table}, {a.printed.dataset}), or its conditions",
                    f"the same {shared} numbers: " + ", ".join(f"{cell.printed.metric} {cell.printed.value}" for cell in other),
                )
            )  # fmt: skip
    return findings


def check_equal_to_full_precision(published: Published) -> list[Finding]:
    """4-bit rows of which half or more of the cells are full precision's to the digit."""
    findings = []
    for row in _rows(published):
        full = [published.full_precision(cell) for cell in row]
        same = [
            cell for cell, other in zip(row, full, strict=True) if other and other.printed.value == cell.printed.value
        ]
        first = row[0]
        if first.scheme == "w4a4" and first.protocol and len(same) >= 3 and 2 * len(same) >= len(row):
            findings.append(
                Finding(
                    "copies", "suspicious", first.paper, f"{first.table}, {first.printed.dataset} ({first.printed.model})",
                    (row_name(first),), "4 bits cost something",
                    f"{len(same)} of {len(row)} cells are full precision's to the digit",
                )
            )  # fmt: skip
    return findings


def _rows(published: Published) -> list[Row]:
    """Rows with two or more cells, one for each data set of a table."""
    rows = group(
        published.cells,
        lambda cell: (cell.paper, cell.table, cell.model, cell.printed.method, cell.printed.bits, cell.printed.dataset),
    )
    return [row for row in rows.values() if len(row) > 1]


def _shared(one: Row, other: Row, key: Callable[[PublishedCell], Hashable]) -> list[tuple[str, str]]:
    """What both rows print of the same thing."""
    theirs = {key(cell): cell.printed.value for cell in other}
    return [(cell.printed.value, theirs[key(cell)]) for cell in one if key(cell) in theirs]


def _identical(one: Row, other: Row, key: Callable[[PublishedCell], Hashable]) -> int:
    """Number of shared cells if there are two or more and all print the same, else 0."""
    shared = _shared(one, other, key)
    return len(shared) if len(shared) > 1 and all(a == b for a, b in shared) else 0
