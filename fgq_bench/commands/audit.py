"""``audit``: check the papers' printed numbers, print what does not add up, write the report."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.commands.printing import print_json, print_text
from fgq_bench.files import write_json, write_text
from fgq_bench.reporting.audit.finding import Finding, group
from fgq_bench.reporting.audit.run import audit, off_by, section, to_json, to_markdown
from fgq_bench.reporting.published import load_published


def audit_published(output: Path | None, as_json: bool) -> None:
    """Print findings by paper, or write ``published.md`` and ``published.json`` to ``output``."""
    published = load_published()
    findings = audit(published)
    if output is not None:
        write_text(output / "published.md", to_markdown(findings, published))
        write_json(output / "published.json", to_json(findings, published))
        print_text(f"wrote {output / 'published'}.{{md,json}}: {len(findings)} findings")
    elif as_json:
        print_json(to_json(findings, published))
    else:
        for title, found in group(findings, section).items():
            print_text(f"{title}\n" + "\n".join(map(_text, found)) + "\n")


def _text(finding: Finding) -> str:
    off = f" (off by {off_by(finding)}, beyond rounding)" if off_by(finding) else ""
    return (
        f"  {finding.severity}: {finding.check}, {finding.where}: {', '.join(finding.cells)}{off}\n"
        f"    expected: {finding.expected}\n    found: {finding.found}"
    )
