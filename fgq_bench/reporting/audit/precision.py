"""Numbers that get better with fewer bits: against full precision, against more bits, and whole columns of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from fgq_bench.reporting.audit.finding import Finding, column_key, group, is_score, metric_title, row_name
from fgq_bench.reporting.published import Published, PublishedCell

FEW = 3  # rows of a column, steps of a method: fewer are chance
_BITS = {"w16a16": 16, "w8a8": 8, "w6a6": 6, "w4a8": 5, "w4a4": 4}  # order of the schemes that are compared


@dataclass(frozen=True)
class Count:
    """How a method's cells compare with full precision in the same table."""

    paper: str
    model: str
    method: str
    scheme: str
    better: int
    equal: int
    worse: int

    @property
    def cells(self) -> int:
        """How many could be compared."""
        return self.better + self.equal + self.worse


def count_better(published: Published) -> list[Count]:
    """Every method and scheme of every paper, over tables that print full precision themselves."""
    pairs = [
        (cell, full)
        for cell in published.cells
        if is_score(cell) and cell.scheme != "w16a16"
        if (full := published.full_precision(cell)) and full.table == cell.table
    ]
    counts = []
    for (paper, model, method, scheme), found in group(
        pairs, lambda pair: (pair[0].paper, pair[0].model, pair[0].printed.method, pair[0].scheme)
    ).items():
        better = sum(cell.better_than(full) for cell, full in found)
        worse = sum(full.better_than(cell) for cell, full in found)
        counts.append(Count(paper, model, method, scheme, better, len(found) - better - worse, worse))
    return counts


def check_better_than_full(published: Published) -> list[Finding]:
    """Quantized cells that beat full precision, counted by paper, model and scheme."""
    findings = []
    for (paper, model, scheme), counts in group(
        count_better(published), lambda count: (count.paper, count.model, count.scheme)
    ).items():
        found = sorted((count for count in counts if count.better), key=lambda count: -count.better / count.cells)
        if not found:
            continue
        best = max(_relative(published, paper, model, scheme), key=lambda pair: pair[1])
        findings.append(
            Finding(
                "better than full precision", "suspicious", paper, f"{model} {scheme}, all tables with a full-precision row",
                tuple(count.method for count in found), "no better than full precision, noise apart",
                "; ".join(f"{count.method} {count.better} of {count.cells}" for count in found)
                + f"; most: {row_name(best[0])} {metric_title(best[0])} {best[0].printed.value} in {best[0].table}, "
                f"{best[0].printed.dataset}, {100 * best[1]:.1f} % better",
            )
        )  # fmt: skip
    return findings


def _relative(published: Published, paper: str, model: str, scheme: str) -> list[tuple[PublishedCell, float]]:
    """Cells with their relative improvement over full precision."""
    cells = [c for c in published.of(paper) if (c.model, c.scheme) == (model, scheme) and is_score(c)]
    return [(cell, -relative.worse_by) for cell in cells if (relative := published.relative(cell))]


def check_columns(published: Published) -> list[Finding]:
    """Columns in which every method at a scheme beats full precision: no measure of quality there."""
    beaten = []
    scores = [cell for cell in published.cells if is_score(cell) and cell.scheme != "w16a16"]
    for cells in group(scores, lambda cell: (*column_key(cell), cell.scheme)).values():
        full = published.full_precision(cells[0])
        if full and len(cells) >= FEW and all(cell.better_than(full) for cell in cells):
            beaten.append((full, cells))
    return [
        Finding(
            "column beats full precision", "suspicious", found[0][0].paper,
            f"{found[0][0].table}, {found[0][0].printed.dataset} ({found[0][0].printed.model})",
            tuple(map(row_name, found[0][1])), "not every row is better than full precision, rounding to nearest among them",
            "; ".join(_column_text(full, cells) for full, cells in found),
        )
        for found in group(beaten, lambda pair: (*column_key(pair[0])[:4], pair[1][0].scheme)).values()
    ]  # fmt: skip


def _column_text(full: PublishedCell, cells: list[PublishedCell]) -> str:
    low, high = (pick(cells, key=lambda cell: cell.value).printed.value for pick in (min, max))
    return f"{metric_title(full)} {full.printed.value}, all {len(cells)} rows at {cells[0].scheme} {low} to {high}"


def check_fewer_bits(published: Published) -> list[Finding]:
    """Methods whose value gets better with every step to fewer bits, from full precision on."""
    rising = []
    scores = [cell for cell in published.cells if is_score(cell) and cell.scheme in _BITS]
    for column in group(scores, column_key).values():
        full = [cell for cell in column if cell.is_full_precision]
        quantized = [cell for cell in column if cell.scheme != "w16a16"]
        for cells in group(quantized, lambda cell: cell.printed.method).values():
            steps = sorted([*full, *cells], key=lambda cell: -_BITS[cell.scheme])
            if len(steps) >= FEW and all(b.better_than(a) for a, b in pairwise(steps)):
                rising.append(steps)
    return [
        Finding(
            "better with fewer bits", "suspicious", found[0][0].paper, f"{found[0][0].table}, {found[0][0].printed.dataset}",
            tuple(dict.fromkeys(steps[1].printed.method for steps in found)),
            "a value does not improve at every step to fewer bits", "; ".join(map(_steps_text, found)),
        )
        for found in group(rising, lambda steps: column_key(steps[0])[:4]).values()
    ]  # fmt: skip


def _steps_text(steps: list[PublishedCell]) -> str:
    values = ", ".join(f"{cell.printed.value} ({cell.scheme})" for cell in steps)
    return f"{steps[1].printed.method} {metric_title(steps[0])} {values}"
