"""Assemble the page: sections into one template, styles and scripts inline, and a policy that forbids any fetch."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from fgq_bench.cards import ReportCard
from fgq_bench.files import write_text
from fgq_bench.planning import Run
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.latency.report import latency_tables
from fgq_bench.reporting.latency.selection import read_latency
from fgq_bench.reporting.page.clouds import clouds_section
from fgq_bench.reporting.page.fisher import fisher_section
from fgq_bench.reporting.page.scatter import Plotted, scatter_section
from fgq_bench.reporting.page.section import Section
from fgq_bench.reporting.page.sensitivity import sensitivity_section
from fgq_bench.reporting.page.tables import Report, tables_section
from fgq_bench.reporting.tables import build_tables
from fgq_bench.results import Store

SCRIPTS = ("common", "theme", "tables", "chart", "scatter", "fisher", "sensitivity", "clouds")
LATENCY = "Measured times, memory and where time goes, each against bf16 in the same run."
Planned = list[tuple[ReportCard, list[Run]]]


def write_page(path: Path, planned: Planned, store: Store, cache: PredictionCache) -> None:
    """Write the page; ``fisher`` and ``sensitivity`` are looked for beside it."""
    text = render_page(sections_of(path.parent, planned, store, cache))
    write_text(path, text)
    print(f"wrote {path} ({len(text.encode()) / 1e6:.1f} MB)")


def sections_of(folder: Path, planned: Planned, store: Store, cache: PredictionCache) -> list[Section]:
    """Every section; reports of the quick preset come first."""
    ordered = sorted(planned, key=lambda item: ("quick" not in item[0].presets, item[0].name))
    plotted = [Plotted(card, runs, build_tables(card, runs, store)[0]) for card, runs in ordered]
    reports = [Report(each.card.name, each.card.title, each.card.summary, each.tables) for each in plotted]
    if measured := latency_tables(store):
        reports.append(Report("latency", "Latency and memory", LATENCY, measured))
    return [
        scatter_section(plotted, read_latency(store)),
        clouds_section(ordered, store, cache),
        sensitivity_section(folder),
        fisher_section(folder),
        tables_section(reports),
    ]


def render_page(sections: list[Section]) -> str:
    """The HTML; the same sections give the same bytes."""
    static = files(__package__) / "static"
    style = (static / "page.css").read_text(encoding="utf-8")
    parts = [(static / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = '"use strict";\n{\n' + "\n".join(parts) + "}\n"
    environment = Environment(
        loader=PackageLoader("fgq_bench.reporting.page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return environment.get_template("page.html").render(
        sections=sections, style=style, script=script, policy=policy,
        data={section.name: section.data for section in sections if not section.missing},
    )  # fmt: skip


def _digest(text: str) -> str:
    """What the content policy calls an inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
