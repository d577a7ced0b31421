"""Reports by name: a plain card, or a paper's table, which is one plain report for every place that it scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgq_bench.cards import DatasetCard, ReportCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.models.checkpoints import find_model
from fgq_bench.planning import LoadedModel, Opened, Request, Run
from fgq_bench.reporting.carry_over import carry_over
from fgq_bench.reporting.papers.layout import Place, layout
from fgq_bench.reporting.papers.tables import build_paper
from fgq_bench.reporting.tables import Row, Table, build_table, read_rows, report_runs
from fgq_bench.results import Result, Store

Planned = list[tuple[ReportCard, list[Run]]]


def find_report(name: str, model: str | None = None) -> ReportCard:
    """The report ``name`` (a card, or a .toml file), on ``model`` where one is given; raises UserError.

    On another model than the card's own it is called NAME-MODEL, with the changes that the card names for that model.
    """
    card = load_card(ReportCard, name)
    for each in (*card.models, *card.also_on):
        find_model(each)
    if model is None or (model == card.model and not card.also_on):
        return card
    find_model(model)
    changes: dict[str, Any] = {
        "name": f"{card.name}-{model}",
        "title": f"{card.title}, on {model}",
        "model": model,
        "also_on": [],
    }
    if model in card.models:
        asked = card.models[model].model_dump(exclude_none=True)
        changes |= {"beside": {}, "words": {}, "sequences": None, "seeds": [0], **asked}
    return card.model_copy(update=changes)


def arguments_of(card: ReportCard) -> str:
    """The options of ``run-all`` that name ``card``, which ``find_report`` gave."""
    own = card.name.removesuffix(f"-{card.model}")
    return f"--report {card.name}" if own == card.name else f"--report {own} --model {card.model}"


def plain_parts(card: ReportCard) -> list[ReportCard]:
    """The plain reports whose cells ``card`` shows: itself on each of its models, or those of a paper's table.

    None of them: nothing is scored.
    """
    if card.published is not None:
        return list(layout(card).parts().values())
    return [card.model_copy(update={"model": model, "also_on": []}) for model in (card.model, *card.also_on)]


def root_options(names: Iterable[str]) -> str:
    """The options that give the folders of data sets ``names``, to be filled in."""
    return " ".join(f"--root {name}=PATH" for name in names)


def folders_missing(card: ReportCard, roots: dict[str, Path]) -> list[str]:
    """Data sets of a report that lie in files and whose folder is not among ``roots``."""
    names = dict.fromkeys(name for part in plain_parts(card) for name in part.datasets)
    cards = [load_card(DatasetCard, name) for name in names]
    return [each.name for each in cards if each.image_size is None and each.name not in roots]


def plan_reports(
    cards: list[ReportCard], limit: int | None, device: str = "cpu", roots: dict[str, Path] | None = None,
    elsewhere: bool = False, download: bool = False,
) -> Planned:  # fmt: skip
    """Every card with the runs of its parts, one after the other; raises UserError for a row that cannot be planned.

    A model that several cards name is loaded once. ``roots``: folders of data sets; ``elsewhere``: see ``Request``;
    ``download``: a model that is not on this machine is fetched, which only a command that computes may do.
    """
    for card in cards:
        if absent := folders_missing(card, roots or {}):
            raise UserError(f"report {card.name} scores data in files: give their folders with {root_options(absent)}")
    parts = [plain_parts(card) for card in cards]
    names = dict.fromkeys(part.model for each in parts for part in each)
    loaded = {name: LoadedModel.load(Request([], [], [], model=name, device=device), download) for name in names}
    opened: Opened = {}

    def runs_of(part: ReportCard) -> list[Run]:
        return report_runs(part, loaded[part.model], limit, device, roots, opened, elsewhere)

    return [(card, [run for part in each for run in runs_of(part)]) for card, each in zip(cards, parts, strict=True)]


def split_runs(card: ReportCard, runs: list[Run]) -> Iterator[tuple[ReportCard, list[Run]]]:
    """The plain parts of ``card``, each with its own of ``runs``, which ``plan_reports`` gave."""
    for part in plain_parts(card):
        yield part, [run for run in runs if _is_of(run, part)]


def _is_of(run: Run, part: ReportCard) -> bool:
    same = run.loaded.spec.name == part.model and part.protocol in (None, run.dataset.setting.protocol)
    return same and run.dataset.card.name in part.datasets and run.row in part.rows


@dataclass(frozen=True)
class Section:
    """The rows of a plain report on one model and one data set, with their table."""

    card: ReportCard  # of that model
    dataset: str
    rows: list[Row]
    table: Table


@dataclass(frozen=True)
class Built:
    """A report with its tables: the results in them, and the cells that are not stored."""

    card: ReportCard
    runs: list[Run]
    sections: list[Section]  # of a plain report, model by model
    tables: list[Table]
    used: list[Result]
    missing: list[Result]


def build_report(card: ReportCard, runs: list[Run], store: Store) -> Built:
    """The tables of ``card``, whose ``runs`` ``plan_reports`` gave."""
    sections: list[Section] = []
    if card.published is None:
        sections = list(_sections(card, runs, store))
        tables = [each.table for each in sections] + _carry_over(card, sections)
        rows = [row for each in sections for row in each.rows]
    else:
        read = read_places(card, runs, store)
        tables = build_paper(layout(card), read, store)
        rows = [row for by_text in read.values() for row in by_text.values()]
    used = [result for row in rows for results in row.results.values() for result in results]
    return Built(card, runs, sections, tables, used, [cell for row in rows for cell in row.missing])


def _sections(card: ReportCard, runs: list[Run], store: Store) -> Iterator[Section]:
    for part, own in split_runs(card, runs):
        for dataset, rows in read_rows(part, own, store).items():
            table = build_table(part, rows)
            if card.also_on:
                table = replace(table, name=f"{table.name}-{part.model}", title=f"{table.title}, {part.model}")
            yield Section(part, dataset, rows, table)


def _carry_over(card: ReportCard, sections: list[Section]) -> list[Table]:
    """How the ranking on the card's own model compares with that on every other one, data set by data set."""
    rows = {(each.dataset, each.card.model): each.rows for each in sections}
    found = [
        carry_over(card, dataset, rows[dataset, card.model], rows[dataset, other])
        for other in card.also_on
        for dataset in card.datasets
    ]
    return [table for table in found if table is not None]


def read_places(card: ReportCard, runs: list[Run], store: Store) -> dict[Place, dict[str, Row]]:
    """Rows of a paper's table by their text, for every place that it scores."""
    return {at: _rows(part, runs, store) for at, part in layout(card).parts().items()}


def _rows(part: ReportCard, runs: list[Run], store: Store) -> dict[str, Row]:
    (rows,) = read_rows(part, [run for run in runs if _is_of(run, part)], store).values()
    return {row.asked.text: row for row in rows}
