"""The papers' tables against themselves: every finding of the audit, the worst first, to be filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fgq_bench.reporting.audit import precision, rivals
from fgq_bench.reporting.audit.finding import Finding, group
from fgq_bench.reporting.audit.run import FEW, SEVERITIES, TITLES, audit, off_by
from fgq_bench.reporting.page.audit_methods import METHODS, Method
from fgq_bench.reporting.page.section import Section
from fgq_bench.reporting.page.tables import PageTable
from fgq_bench.reporting.published import Published
from fgq_bench.reporting.tables import Cell, Table

LONG = 10  # findings of a verdict above which it starts folded
MEANINGS: Final = {
    "impossible": "no data give these numbers",
    "inconsistent": "the paper contradicts itself",
    "suspicious": "it may be so, but a reader should know",
}


@dataclass(frozen=True)
class PageFinding:
    """A finding with its papers by name."""

    finding: Finding
    papers: Sequence[str]  # titles; more than one where papers are compared
    found: Sequence[str]  # what is printed, in parts
    off_by: str  # beyond rounding, with its unit; empty where that has no size


@dataclass(frozen=True)
class Check:
    """The findings of one check at one verdict, and how it comes to them."""

    name: str
    method: Method
    findings: Sequence[PageFinding]


@dataclass(frozen=True)
class Verdict:
    """Everything at one verdict."""

    name: str
    meaning: str
    checks: Sequence[Check]

    @property
    def count(self) -> int:
        """How many findings."""
        return sum(len(check.findings) for check in self.checks)


def audit_section(published: Published) -> Section:
    """Findings by verdict and check, what can be filtered by, and the counts behind them."""
    findings = [_read(finding) for finding in audit(published)]
    verdicts = [_verdict(name, [each for each in findings if each.finding.severity == name]) for name in SEVERITIES]
    shown = {
        "numbers": len(published.cells),
        "verdicts": verdicts,
        "papers": {title: sum(title in each.papers for each in findings) for title in TITLES.values()},
        "long": LONG,
        "tables": [PageTable.read(table) for table in (_better(published), _standings(published))],
    }  # fmt: skip
    return Section("audit", "The papers' tables against themselves", shown)


def _read(finding: Finding) -> PageFinding:
    sentences = ". " in finding.found  # else a list
    parts = [finding.found] if sentences else finding.found.split("; ")
    return PageFinding(finding, [TITLES[paper] for paper in finding.paper.split(", ")], parts, off_by(finding))


def _verdict(name: str, findings: list[PageFinding]) -> Verdict:
    checks = group(findings, lambda each: each.finding.check)
    return Verdict(name, MEANINGS[name], [Check(check, METHODS[check], found) for check, found in checks.items()])


def _better(published: Published) -> Table:
    rows = [
        [Cell(text) for text in (TITLES[c.paper], c.model, c.method, c.scheme, *map(str, (c.better, c.equal, c.worse)))]
        for c in precision.count_better(published)
        if c.cells >= FEW
    ]
    caption = f"Cells against full precision of the same table, for methods with {FEW} or more."
    heads = ["Paper", "Model", "Method", "Scheme", "Better", "Equal", "Worse"]
    return Table("audit-full-precision", "Against full precision", caption, heads, rows)


def _standings(published: Published) -> Table:
    rows = [
        [Cell(text) for text in (TITLES[s.paper], s.model, s.rival, *map(str, (s.wins, s.ties, s.losses)))]
        for s in rivals.standings(published)
    ]
    caption = "Cells that a paper's own method wins, ties and loses against each rival at the same scheme."
    heads = ["Paper", "Model", "Rival", "Won", "Tied", "Lost"]
    return Table("audit-rivals", "Against rivals", caption, heads, rows)
