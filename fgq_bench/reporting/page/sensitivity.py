"""Sensitivity curves: what quantizing one block, or one linear of it, does to every head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fgq_bench.reporting.figures.fisher_maps import short_name
from fgq_bench.reporting.page.facts import SensitivityFacts, read_facts
from fgq_bench.reporting.page.section import Section, rounded
from fgq_bench.reporting.page.tables import PageTable
from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.sensitivity import WHOLE
from fgq_bench.task_losses import TASKS

VERB, TITLE = "sensitivity", "Sensitivity"
MISSING: Final = "Not stored beside this page: fgq-bench sensitivity -o FOLDER/sensitivity makes it, then fgq-bench report --page FOLDER/index.html."  # fmt: skip


def sensitivity_section(folder: Path) -> Section:
    """The curves of ``folder``/sensitivity/sensitivity.json, and the same numbers as a table."""
    path = folder / VERB / "sensitivity.json"
    facts = read_facts(path, VERB, SensitivityFacts)
    if facts is None:
        return Section(VERB, TITLE, missing=MISSING)
    conditions = (
        f"Model {facts['model']}; one part at a time rounded to nearest at {facts['scheme']}, all else in full "
        f"precision; scope {facts['scope']}; mean over {facts['clips']} clips of {facts['manifest']['manifest']}. "
        "Error: |output - float output| / |float output| of a head; no interval is stored."
    )
    parts = [_part(part, facts["protected"]) for part in facts["parts"]]
    table = PageTable.read(_table(facts, conditions))
    data = {"conditions": conditions, "tasks": TASKS, "parts": parts}
    return Section(VERB, TITLE, {"table": table, "conditions": conditions}, data)


def _part(part: dict[str, Any], protected: list[str]) -> dict[str, Any]:
    return {
        "stage": short_name(part["stage"]), "kind": _kind(part), "protected": part["stage"] in protected,
        "errors": [rounded(100 * part[task]) for task in TASKS],
    }  # fmt: skip


def _kind(part: dict[str, Any]) -> str:
    return "whole block" if part["kind"] == WHOLE else str(part["kind"])


def _table(facts: dict[str, Any], conditions: str) -> Table:
    rows = [
        [
            Cell(part["stage"]),
            Cell(_kind(part)),
            *(Cell(f"{100 * part[task]:.3f}") for task in TASKS),
            Cell("protected" if part["stage"] in facts["protected"] else ""),
        ]
        for part in facts["parts"]
    ]
    heads = ["Block", "Quantized", *(f"{task} error (%)" for task in TASKS), "QVGGT"]
    return Table(VERB, "One part quantized at a time", conditions, heads, rows)
