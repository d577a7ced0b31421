"""Fisher validity: rank correlations with the damage that was measured, and what of Fisher information cancels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fgq_bench.fisher_validity.predictors import PERMUTED, VARIANCE
from fgq_bench.fisher_validity.ranking import CEILING
from fgq_bench.fisher_validity.summary import Row
from fgq_bench.reporting.fisher_validity import HEADS, LEVELS, show
from fgq_bench.reporting.page.cancellation import Cancellation
from fgq_bench.reporting.page.facts import ValidityFacts, read_facts
from fgq_bench.reporting.page.section import Section
from fgq_bench.reporting.page.tables import PageTable
from fgq_bench.reporting.page.validity_chart import ALL, OWN, Scale, ordered, panels
from fgq_bench.reporting.tables import Cell, Table

VERB, TITLE = "fisher-validity", "Does Fisher information predict damage?"
MISSING: Final = "Not stored beside this page: fgq-bench fisher-validity -o FOLDER/fisher-validity makes it, then fgq-bench report --page FOLDER/index.html."  # fmt: skip


def validity_section(folder: Path) -> Section:
    """The correlations of ``folder``/fisher-validity/fisher-validity.json as a chart and as tables, and what cancels."""
    path = folder / VERB / f"{VERB}.json"
    facts = read_facts(path, VERB, ValidityFacts)
    if facts is None:
        return Section("validity", TITLE, missing=MISSING)
    rows = ordered(facts["channels"]["correlation"])
    scale = Scale.of(rows.values())
    shown = {
        "answer": _answer(rows), "conditions": _conditions(facts["conditions"]), "command": facts["command"],
        "panels": panels(rows, scale), "ticks": scale.ticks, "tables": list(map(PageTable.read, _tables(facts))),
        "cancellation": Cancellation.read(facts),
    }  # fmt: skip
    return Section("validity", TITLE, shown)


def _answer(rows: dict[str, Row]) -> str:
    """The ranges over estimators and measures, in words."""

    def span(kind: str) -> str:
        values = [cell["value"] for name, row in rows.items() if name.endswith(kind) for cell in row.values()]
        return f"{min(values):.2f} to {max(values):.2f}"

    chance = rows[PERMUTED].values()
    low, high = min(cell["ci_low"] for cell in chance), max(cell["ci_high"] for cell in chance)
    return (
        "How well does a ranking of a block's channels agree with the damage that noise in each of them does? Spearman "
        "correlation, mean over blocks; ranges over estimators and measures of damage. Fisher information of the task that is "
        f"measured: {span(f', {OWN}')}; of all tasks together, FGQ's weights: {span(f', {ALL}')}; activation variance: "
        f"{span(VARIANCE)}. Chance gives {low:.2f} to {high:.2f}; the damage on the other half of the clips, as a ranking, "
        f"{span(CEILING)}."
    )


def _conditions(c: dict[str, Any]) -> str:
    sampled = c["channels"] < c["width"]
    moved = ", ".join(f"{title} {c['blocks_that_count'][measure]}" for measure, title in HEADS.items())
    return (
        f"Model {c['model']} ({c['compute_dtype']}); Fisher information and variance from {c['manifest']['manifest']} "
        f"({c['calibration_clips']} clips); damage on {len(c['clips'])} other clips of {', '.join(c['datasets'])}, "
        f"{len(c['seeds'])} noise seeds, {c['channels']} of {c['width']} channels in each of {c['blocks']} blocks. Noise of "
        f"random sign, as large as the rounding error on the token's {c['bits']}-bit grid; all else float. Damage: error "
        f"against the float predictions. Bars: 95 % interval, bootstrap over clips{' and channels' if sampled else ''}. "
        f"Blocks that count (noise moves the measure at all): {moved}. Own task: Fisher information of the task that is "
        "measured, summed over tokens as FGQ sums it; by token noise: each token type weighted by the noise that it gets. "
        "Permuted: shuffled anew in every resample. Other half of the clips: ranked by the damage measured there."
    )


def _tables(facts: dict[str, Any]) -> list[Table]:
    within, across = facts["channels"], facts["blocks"]
    about = {level: what for level, (_, what) in LEVELS.items()}
    eighth = "Damage of the highest-ranked eighth of the channels over that of the lowest (1: no difference)."
    return [
        _table("channels", "Channels of a block", about["channels"], "Ranking", within["correlation"]),
        _table("over-variance", "Own task's Fisher minus variance", "Difference of the correlations over channels.", "Estimator", within["over_variance"], "{:+.2f}"),
        _table("over-tasks", "Own task's Fisher minus the other tasks'", "Difference of the correlation over channels from the mean of the other two tasks'.", "Estimator", within["over_other_tasks"], "{:+.2f}"),
        _table("tasks", "Every task's Fisher against every measure", about["channels"], "Fisher of", within["by_task"]),
        _table("contrast", "High against low", eighth, "Ranking", facts["contrast"]),
        _table("blocks", "Blocks", about["blocks"], "Ranking", across["correlation"]),
    ]  # fmt: skip


def _table(name: str, title: str, about: str, head: str, rows: dict[str, Row], form: str = "{:z.2f}") -> Table:
    cells = [
        [Cell(label), *(Cell(show(row[measure], form)) for measure in HEADS)] for label, row in ordered(rows).items()
    ]
    return Table(f"validity-{name}", title, f"{about} Brackets: 95 % interval.", [head, *HEADS.values()], cells)
