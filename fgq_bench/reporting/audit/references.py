"""What a table is compared with: full-precision rows of another protocol, full precision across papers, weak references."""

from __future__ import annotations

from fgq_bench.reporting.audit.finding import Finding, among, column_key, group, is_score, metric_title, row_name
from fgq_bench.reporting.published import Published, PublishedCell

WEAK = {"fake-quant": "emulation only adds work", "FP32": "BF16 alone halves bytes and speeds up matrix products"}


def check_reference_row(published: Published) -> list[Finding]:
    """Tables whose full-precision row is the one of another protocol while their other rows are not."""
    findings = []
    rows = group(
        (cell for cell in published.cells if is_score(cell) and cell.is_full_precision),
        lambda cell: (cell.paper, cell.table, cell.model, cell.printed.dataset),
    )
    for key, row in rows.items():
        usual = [other for cell in row for other in _elsewhere(rows, cell) if other.protocol == cell.protocol]
        if not usual or any(
            other.printed.value == cell.printed.value for cell in row for other in usual if other.metric == cell.metric
        ):
            continue
        foreign = [
            other for cell in row for other in _elsewhere(rows, cell) if other.printed.value == cell.printed.value
        ]
        source = {other.printed.dataset for other in foreign if other.protocol != row[0].protocol}
        if source and len({other.metric for other in foreign}) == len(row):
            own = [cell for cell in published.table(key[0], key[1]) if is_score(cell) and not cell.is_full_precision]
            same = sum(any(_same_cell(cell, other) for other in published.of(key[0])) for cell in own)
            findings.append(
                Finding(
                    "reference row", "inconsistent", key[0], f"{key[1]}, {key[3]}", (row_name(row[0]),),
                    f"full precision of the rows' own protocol: {among(f'{metric_title(o)} {o.printed.value}' for o in usual)}",
                    f"{among(f'{metric_title(c)} {c.printed.value}' for c in row)}, that of {among(sorted(source))}; {same} of the "
                    f"{len(own)} quantized cells are printed for {usual[0].printed.dataset} in other tables",
                )
            )  # fmt: skip
    return findings


def _elsewhere(rows: dict[tuple[str, str, str, str], list[PublishedCell]], cell: PublishedCell) -> list[PublishedCell]:
    """The paper's other full-precision cells of this metric and data set card, whatever the protocol."""
    return [
        other
        for row in rows.values()
        for other in row
        if (other.paper, other.model, other.dataset, other.metric)
        == (cell.paper, cell.model, cell.dataset, cell.metric)
        and other.table != cell.table
    ]


def _same_cell(cell: PublishedCell, other: PublishedCell) -> bool:
    return other.table != cell.table and (other.protocol, other.metric, other.printed.value, other.printed.bits) == (
        cell.protocol, cell.metric, cell.printed.value, cell.printed.bits,
    )  # fmt: skip


def check_across_papers(published: Published) -> list[Finding]:
    """Full precision of one model on "the same" data set, in several papers."""
    differing = []
    full = [cell for cell in published.cells if is_score(cell) and cell.is_full_precision]
    for cells in group(full, lambda cell: (cell.model, cell.dataset, metric_title(cell))).values():
        firsts = [found[0] for found in group(cells, lambda cell: cell.paper).values()]
        if not all(one.agrees_with(other) for one in firsts for other in firsts):
            differing.append(firsts)
    return [
        Finding(
            "across papers", "suspicious", among(cell.paper for firsts in found for cell in firsts), f"{dataset}, {model}",
            ("full precision",), "one value if the protocols were one; so only what is relative to each paper's own compares",
            "; ".join(_values(firsts) for firsts in found),
        )
        for (model, dataset), found in group(differing, lambda firsts: (firsts[0].model, firsts[0].dataset)).items()
    ]  # fmt: skip


def _values(cells: list[PublishedCell]) -> str:
    values = ", ".join(f"{cell.printed.value} {cell.printed.unit} ({cell.paper})" for cell in cells)
    return f"{metric_title(cells[0])} {values}"


def check_weak_references(published: Published) -> list[Finding]:
    """Gains over something slower or larger than 16-bit floating point."""
    findings = []
    for paper in dict.fromkeys(cell.paper for cell in published.cells):
        ratios = [cell for cell in published.of(paper) if cell.unit == "ratio" and not cell.is_full_precision]
        for weak, why in WEAK.items():
            weakly = [cell for cell in ratios if cell.printed.aggregation == f"ratio vs {weak}"]
            if weakly:
                findings.append(
                    Finding(
                        "weak reference", "suspicious", paper, among(cell.table for cell in weakly),
                        tuple(dict.fromkeys(map(row_name, weakly))), f"gain against 16-bit floating point, not {weak}: {why}",
                        "; ".join(f"{row_name(c)} {c.printed.metric} {c.printed.value}" for c in weakly),
                    )
                )  # fmt: skip
        latencies = [cell for cell in published.of(paper) if cell.printed.metric == "latency_ms"]
        for column in group(latencies, column_key).values():
            by_bits = {cell.printed.bits: cell for cell in column}
            if {"FP32", "BF16"} <= set(by_bits):
                findings.append(_against_both(column, by_bits["FP32"], by_bits["BF16"]))
    return findings


def _against_both(column: list[PublishedCell], slow: PublishedCell, fast: PublishedCell) -> Finding:
    rows = [cell for cell in column if not cell.is_full_precision]
    text = "; ".join(
        f"{row_name(c)}: {slow.value / c.value:.2f}x of FP32, {fast.value / c.value:.3f}x of BF16" for c in rows
    )
    return Finding(
        "weak reference", "suspicious", slow.paper, f"{slow.table}, {slow.printed.dataset}", tuple(map(row_name, rows)),
        f"gain against BF16, which alone is {slow.value / fast.value:.2f}x of FP32", text,
    )  # fmt: skip
