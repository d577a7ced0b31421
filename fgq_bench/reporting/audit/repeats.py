"""One configuration, printed in several tables of a paper, has one value; where not, its scatter is the paper's noise."""

from __future__ import annotations

from math import sqrt

from fgq_bench.reporting.audit.finding import (
    OWN,
    Finding,
    among,
    group,
    is_pose,
    is_score,
    metric_title,
    row_name,
    shown,
)
from fgq_bench.reporting.published import Published, PublishedCell

SAME = {"fgq:uniform": "flatquant"}  # FGQ with all weights 1 is FlatQuant (spec: fgq, 2.2)


def repeated(published: Published, paper: str) -> list[list[PublishedCell]]:
    """Cells of one configuration and metric that do not all round to one value."""
    scores = [cell for cell in published.of(paper) if is_score(cell)]
    cells = group(
        scores,
        lambda cell: (
            cell.model,
            SAME.get(cell.method, cell.method),
            cell.scheme,
            cell.dataset,
            cell.protocol,
            cell.metric,
        ),
    )
    return [
        same for same in cells.values() if not all(one.agrees_with(other) for one in same for other in same)
    ]  # fmt: skip


def check_repeats(published: Published) -> list[Finding]:
    """Configurations with more than one value."""
    findings = []
    for paper in OWN:
        for cells in repeated(published, paper):
            low, high = (pick(cells, key=lambda cell: cell.value) for pick in (min, max))
            findings.append(
                Finding(
                    "repeats", "inconsistent", paper, f"{among(cell.table for cell in cells)}, {low.printed.dataset}",
                    tuple(dict.fromkeys(map(row_name, cells))), f"one {metric_title(low)}", among(map(shown, cells)),
                    (high.low - low.high) * float(high.printed.value) / high.value, low.printed.unit,
                )
            )  # fmt: skip
    return findings


def check_scatter(published: Published) -> list[Finding]:
    """Rows that a table tells from the paper's own method by less than two printings of one configuration differ."""
    findings = []
    for paper, own in OWN.items():
        twice = [cells for cells in repeated(published, paper) if not cells[0].is_full_precision]
        for (dataset, metric), configurations in group(
            twice, lambda cells: (cells[0].dataset, cells[0].metric)
        ).items():
            scatter = max(abs(a.value - b.value) for cells in configurations for a in cells for b in cells)
            schemes = {cells[0].scheme for cells in configurations}
            close = []
            for table in dict.fromkeys(cell.table for cells in configurations for cell in cells):
                rows = [
                    cell
                    for cell in published.table(paper, table)
                    if (cell.dataset, cell.metric) == (dataset, metric) and cell.scheme in schemes
                ]
                for mine in (cell for cell in rows if cell.method == own):
                    close += [
                        f"{row_name(cell)} {cell.printed.value} beside {mine.printed.value} ({table})"
                        for cell in rows
                        if cell.scheme == mine.scheme and cell.method != own and abs(cell.value - mine.value) < scatter
                    ]
            if close:
                first = configurations[0][0]
                findings.append(
                    Finding(
                        "scatter", "suspicious", paper, f"{first.printed.dataset}, {metric_title(first)}", (own,),
                        f"differences beyond {scatter * float(first.printed.value) / first.value:.4g} {first.printed.unit}, "
                        "by which one configuration differs between tables", "; ".join(close),
                    )
                )  # fmt: skip
    return findings


def noise(published: Published, paper: str) -> dict[str, float]:
    """Kind of metric ("pose", "distance") -> standard deviation of one printing, relative to the cell's error.

    Two printings of one quantity differ by sqrt(2) standard deviations (root mean square). Full precision is left out:
    it has no random part, another value there is another protocol.
    """
    squares: dict[str, list[float]] = {}
    for cells in repeated(published, paper):
        if cells[0].is_full_precision:
            continue
        low, high = (pick(cells, key=lambda cell: cell.error) for pick in (min, max))
        squares.setdefault(kind(low), []).append(((high.error - low.error) / ((high.error + low.error) / 2)) ** 2)
    return {name: sqrt(sum(found) / len(found) / 2) for name, found in squares.items()}


def kind(cell: PublishedCell) -> str:
    """``pose`` for AUCs, ``distance`` for errors of points and depths."""
    return "pose" if is_pose(cell) else "distance"
