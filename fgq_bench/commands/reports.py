"""``report``: render stored results."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.cards import DatasetCard, ReportCard, card_names, load_card
from fgq_bench.commands.printing import print_json
from fgq_bench.errors import UserError
from fgq_bench.files import write_json, write_text
from fgq_bench.planning import Run
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.figures.report_figures import write_report_figures
from fgq_bench.reporting.formats import find_format, to_markdown
from fgq_bench.reporting.latency.report import NAME as LATENCY
from fgq_bench.reporting.latency.report import latency_tables, write_latency_report
from fgq_bench.reporting.page.page import write_page
from fgq_bench.reporting.readme import fill_tables
from fgq_bench.reporting.tables import Table, build_tables, plan_reports
from fgq_bench.results import Result, Store


def render(
    name: str | None,
    results: Path,
    output: Path | None,
    formats: str,
    fill: Path | None,
    limit: int | None,
    as_json: bool,
    page: Path | None = None,
    roots: dict[str, Path] | None = None,
) -> None:
    """Render one report, or all that have a quantized result; print them, write them (files with the results they show, a page), or fill a file.

    ``latency`` has no card: it shows whatever ``fgq-bench latency`` stored. Reports of data sets in files are among
    "all" where ``roots`` has their folders.
    """
    names = [] if name == LATENCY else [name] if name else card_names("reports")
    cards = [load_card(ReportCard, chosen) for chosen in names]
    cards = [card for card in cards if name or not folders_missing(card, roots or {})]
    store = Store(results)
    if not results.is_dir():
        raise UserError(
            f"{results}: no such folder; fgq-bench run-all makes runs/results, or name another with --results"
        )
    planned = [
        (card, runs)
        for card, runs in plan_reports(cards, limit, roots=roots)
        if name or any(store.get(cell) for run in runs if not run.scheme.is_float for cell in run.cells())
    ]
    cache = PredictionCache(results.parent / "cache" / "predictions")
    measured = latency_tables(store) if name in (None, LATENCY) else []
    if not planned and not measured:
        raise UserError(f"{results}: no result of {'latency' if name == LATENCY else 'any report'} is stored here")
    if fill is not None:
        _fill(fill, planned, store)
    if output is not None:
        used = write_reports(planned, store, cache, output, formats)
        used += write_latency_report(store, output, formats) if measured else []
        if not results.resolve().is_relative_to(output.resolve()):
            copy_results(used, output)
    if page is not None:
        write_page(page, planned, store, cache)
    if fill is not None or output is not None or page is not None:
        return
    tables = [table for card, runs in planned for table in build_tables(card, runs, store)[0]] + measured
    if as_json:
        print_json([_table_json(table) for table in tables])
        return
    for each in formats.split(",")[:1]:
        print("\n".join(find_format(each)[1](table) for table in tables))


def folders_missing(card: ReportCard, roots: dict[str, Path]) -> list[str]:
    """Data sets of a report that lie in files and whose folder is not among ``roots``."""
    cards = [load_card(DatasetCard, name) for name in card.datasets]
    return [card.name for card in cards if card.image_size is None and card.name not in roots]


def _fill(path: Path, planned: list[tuple[ReportCard, list[Run]]], store: Store) -> None:
    if not path.is_file():
        raise UserError(f"--fill {path}: no such file")
    rendered = {card.name: "\n".join(map(to_markdown, build_tables(card, runs, store)[0])) for card, runs in planned}
    write_text(path, fill_tables(path.read_text(encoding="utf-8"), rendered))
    print(f"filled {path}")


def write_reports(
    planned: list[tuple[ReportCard, list[Run]]], store: Store, cache: PredictionCache, output: Path, formats: str
) -> list[Result]:
    """Write ``<report>.md|tex|csv`` and its figures to ``output``; figures are drawn again only if a table changed.

    Returns the results that the tables show.
    """
    shown: list[Result] = []
    chosen = [find_format(each) for each in formats.split(",")]
    for card, runs in planned:
        tables, used, missing = build_tables(card, runs, store)
        shown += used
        changed = False
        for ending, renderer in chosen:
            head = f"# {card.title}\n\n{card.summary}\n\n" if ending == "md" else ""
            text = head + "\n".join(renderer(table) for table in tables)
            changed |= _write_if_changed(output / f"{card.name}.{ending}", text)
        figures = write_report_figures(card, runs, store, cache, output / "figures") if changed else []
        note = f" and {len(figures)} figures" if figures else ""
        note += f"; {len(missing)} cells are not stored" if missing else ""
        verb = "wrote" if changed else "up to date:"
        print(f"{verb} {output / card.name}.{{{','.join(ending for ending, _ in chosen)}}}{note}")
    return shown


def copy_results(results: list[Result], output: Path) -> None:
    """Write the results that the reports show to ``output``/results, so that the folder stands for itself."""
    for result in results:
        write_json(output / "results" / result.path(), result.values())


def _write_if_changed(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def _table_json(table: Table) -> dict[str, object]:
    return {
        "name": table.name, "title": table.title, "caption": table.caption, "rows": table.frame.to_dict(orient="records")
    }  # fmt: skip
