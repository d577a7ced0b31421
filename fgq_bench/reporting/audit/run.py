"""All checks in order, and what they print: Markdown by paper, JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from fgq_bench.reporting.audit import (
    auc_algebra,
    claims,
    conditions,
    copies,
    error_algebra,
    precision,
    references,
    repeats,
    rivals,
)
from fgq_bench.reporting.audit.finding import Finding, group
from fgq_bench.reporting.published import Published

CHECKS: tuple[Callable[[Published], list[Finding]], ...] = (
    auc_algebra.check_auc_algebra,
    auc_algebra.check_saturation,
    auc_algebra.check_between_thresholds,
    error_algebra.check_bounds,
    error_algebra.check_mean_and_median,
    repeats.check_repeats,
    repeats.check_scatter,
    claims.check_same,
    claims.check_claims,
    references.check_reference_row,
    copies.check_copies,
    copies.check_borrowed,
    copies.check_equal_to_full_precision,
    precision.check_better_than_full,
    precision.check_columns,
    precision.check_fewer_bits,
    rivals.check_sweep,
    rivals.check_gains,
    rivals.check_worse_than_rounding,
    conditions.check_more_frames,
    conditions.check_speed_by_frames,
    conditions.check_latency_ratios,
    conditions.check_memory,
    conditions.check_best_setting,
    references.check_across_papers,
    references.check_weak_references,
)
SEVERITIES = ("impossible", "inconsistent", "suspicious")
FEW = 6  # cells of a method's count that is shown
TITLES = {"fgq": "FGQ", "quantvggt": "QuantVGGT", "qvggt": "QVGGT", "concurrent": "Concurrent work"}


def audit(published: Published) -> list[Finding]:
    """Every finding: by paper, the worst first, then in the order of the checks."""
    findings = [finding for check in CHECKS for finding in check(published)]
    papers = [*TITLES, *sorted({finding.paper for finding in findings} - set(TITLES))]
    return sorted(findings, key=lambda finding: (papers.index(finding.paper), SEVERITIES.index(finding.severity)))


def section(finding: Finding) -> str:
    """The heading that a finding stands under."""
    return TITLES.get(finding.paper, "Across papers")


def off_by(finding: Finding) -> str:
    """``0.0004 AUC``."""
    return "" if finding.beyond_rounding is None else f"{finding.beyond_rounding:.3g} {finding.unit}".rstrip()


def to_json(findings: list[Finding], published: Published) -> dict[str, object]:
    """Findings and counts as plain values."""
    return {
        "findings": [asdict(finding) for finding in findings],
        "better_than_full_precision": [asdict(count) for count in precision.count_better(published)],
        "standings": [
            {"paper": one.paper, "model": one.model, "rival": one.rival, "wins": one.wins, "ties": one.ties, "losses": one.losses}
            for one in rivals.standings(published)
        ],
    }  # fmt: skip


def to_markdown(findings: list[Finding], published: Published) -> str:
    """The report: a summary, the findings of each paper, the counts behind them."""
    totals = ", ".join(f"{sum(f.severity == name for f in findings)} {name}" for name in SEVERITIES)
    lines = [
        "# Audit of the published tables", "",
        f"{len(published.cells)} printed numbers of three papers and of concurrent work (`reports/published`), checked by "
        f"`fgq-bench audit` against the metrics' own algebra and against themselves: {totals}. Impossible: no data give these "
        "numbers. Inconsistent: the paper contradicts itself. Suspicious: it may be so, but a reader should know. "
        "\"Beyond rounding\" is how far off a number is at least, whatever the digits that are not printed. A slip of the "
        f"transcription is possible everywhere. AUC algebra: {auc_algebra.known_aucs(published)}.", "",
    ]  # fmt: skip
    for title, found in group(findings, section).items():
        lines += [
            f"## {title}",
            "",
            "| | Check | Where | Rows | Expected | Found | Beyond rounding |",
        ]
        lines.append("|---|---|---|---|---|---|---:|")
        lines += [_markdown_row(finding) for finding in found]
        lines.append("")
    return "\n".join([*lines, *_counts(published)]) + "\n"


def _markdown_row(finding: Finding) -> str:
    names = (
        ", ".join(finding.cells)
        if len(finding.cells) <= 8
        else f"{', '.join(finding.cells[:8])} and {len(finding.cells) - 8} more"
    )
    cells = [finding.severity, finding.check, finding.where, names, finding.expected, finding.found, off_by(finding)]
    return "| " + " | ".join(cell.replace("|", r"\|").replace("<", "&lt;") for cell in cells) + " |"


def _counts(published: Published) -> list[str]:
    lines = [
        "## Counts", "", f"Cells better than, equal to and worse than full precision of the same table, for methods with {FEW} or more.", "",
        "| Paper | Model | Method | Scheme | Better | Equal | Worse | Cells |", "|---|---|---|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {TITLES[c.paper]} | {c.model} | {c.method} | {c.scheme} | {c.better} | {c.equal} | {c.worse} | {c.cells} |"
        for c in precision.count_better(published)
        if c.cells >= FEW
    ]
    lines += [
        "", "Cells that a paper's own method wins, ties and loses against each rival at the same scheme.", "",
        "| Paper | Model | Rival | Won | Tied | Lost |", "|---|---|---|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {TITLES[s.paper]} | {s.model} | {s.rival} | {s.wins} | {s.ties} | {s.losses} |"
        for s in rivals.standings(published)
    ]
    return lines
