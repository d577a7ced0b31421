"""Assemble the page: sections into one template, styles and scripts inline, and a policy that forbids any fetch."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.latency.report import latency_tables
from fgq_bench.reporting.latency.selection import read_latency
from fgq_bench.reporting.page import fisher, sensitivity, validity
from fgq_bench.reporting.page.audit import audit_section
from fgq_bench.reporting.page.clouds import clouds_section
from fgq_bench.reporting.page.scatter import scatter_section
from fgq_bench.reporting.page.section import Section, section_or_reason
from fgq_bench.reporting.page.tables import Report, tables_section
from fgq_bench.reporting.published import load_published
from fgq_bench.reporting.reports import Built
from fgq_bench.reporting.writing import File, write_file
from fgq_bench.results import Store

SCRIPTS = ("common", "theme", "tables", "audit", "chart", "scatter", "fisher", "sensitivity", "clouds")
LATENCY = "Measured times, memory and where time goes, each against bf16 in the same run."


def write_page(path: Path, reports: list[Built], store: Store, cache: PredictionCache) -> File:
    """Write the page; ``sensitivity``, ``fisher`` and ``fisher-validity`` are looked for beside it."""
    return write_file(path, render_page(sections_of(path.parent, reports, store, cache)).encode())


def sections_of(folder: Path, reports: list[Built], store: Store, cache: PredictionCache) -> list[Section]:
    """Every section; reports of the quick preset come first."""
    ordered = sorted(reports, key=lambda each: ("quick" not in each.card.presets, each.card.name))
    plain = [each for each in ordered if each.card.published is None]  # published numbers are of other data
    shown = [Report(each.card.name, each.card.title, each.card.summary, each.tables) for each in ordered]
    if measured := latency_tables(store):
        shown.append(Report("latency", "Latency and memory", LATENCY, measured))
    return [
        scatter_section(plain, read_latency(store)),
        clouds_section(plain, cache),
        section_or_reason("sensitivity", sensitivity.TITLE, lambda: sensitivity.sensitivity_section(folder)),
        section_or_reason("fisher", fisher.TITLE, lambda: fisher.fisher_section(folder)),
        section_or_reason("validity", validity.TITLE, lambda: validity.validity_section(folder)),
        audit_section(load_published()),
        tables_section(shown),
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
        data={section.name: section.data for section in sections if section.data is not None and not section.missing},
    )  # fmt: skip


def _digest(text: str) -> str:
    """What the content policy calls an inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
