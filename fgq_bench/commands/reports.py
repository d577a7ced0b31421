"""``report``: render stored results."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.bounded import read_text
from fgq_bench.cards import ReportCard, card_names
from fgq_bench.commands.given import check_roots, datasets_of
from fgq_bench.commands.printing import print_json, print_text
from fgq_bench.errors import UserError
from fgq_bench.files import write_json
from fgq_bench.models.checkpoints import find_model
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.costs import read_costs
from fgq_bench.reporting.figures.report_figures import write_report_figures
from fgq_bench.reporting.formats import escape_markdown, find_format, markdown_paragraph, to_markdown
from fgq_bench.reporting.latency.report import NAME as LATENCY
from fgq_bench.reporting.latency.report import latency_tables, write_latency_report
from fgq_bench.reporting.missing import Gap, find_gaps
from fgq_bench.reporting.page.page import write_page
from fgq_bench.reporting.readme import fill_tables
from fgq_bench.reporting.reports import Built, build_report, find_report, folders_missing, plan_reports, root_options
from fgq_bench.reporting.tables import Table
from fgq_bench.reporting.writing import File, describe, write_file
from fgq_bench.results import COMPUTED_ON, Result, Store
from fgq_bench.scratch import clear_below


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
    model: str | None = None,
    everything: bool = False,
) -> None:
    """Render one report, or those that have a quantized result; print them, write them (files with the results they show, a page), or fill a file.

    ``latency`` has no card: it shows whatever ``fgq-bench latency`` stored. Reports of data sets in files are rendered
    where ``roots`` has their folders, or by name. ``everything``: reports without a result, too.
    """
    cards = [] if name == LATENCY else choose_reports(name, model)
    absent = {each: None for card in cards for each in folders_missing(card, roots or {})}
    cards = [card for card in cards if name or not folders_missing(card, roots or {})]
    store = Store(results)
    if not results.is_dir():
        raise UserError(
            f"{results}: no such folder; fgq-bench run-all makes runs/results, or name another with --results"
        )
    planned = plan_reports(cards, limit, roots=roots)
    if name is not None:
        check_roots(roots or {}, datasets_of([run for _, runs in planned for run in runs]))
    reports = [
        build_report(card, runs, store)
        for card, runs in planned
        if name or everything or any(store.get(cell) for run in runs if not run.scheme.is_float for cell in run.cells())
    ]
    cache = PredictionCache(results.parent / "cache" / "predictions")
    measured = latency_tables(store) if name == LATENCY or (name is None and model is None) else []
    if not reports and not measured:
        needs = f"; what scores data in files needs {root_options(absent)}" if absent else ""
        raise UserError(
            f"{results}: no result of {'latency' if name == LATENCY else 'any report'} is stored here{needs}"
        )
    if fill is not None:
        _fill(fill, reports)
    if output is not None:
        clear_below(output)
        used = write_reports(reports, store, cache, output, formats)
        if measured:
            files, shown = write_latency_report(store, output, formats)
            print_text(describe(output / LATENCY, files))
            used += shown
        used += read_costs(store)
        if not results.resolve().is_relative_to(output.resolve()):
            copy_results(used, store, output)
    if page is not None:
        print_page(write_page(page, reports, store, cache))
    if fill is not None or output is not None or page is not None:
        return
    tables = [table for report in reports for table in report.tables] + measured
    if as_json:
        print_json([_table_json(table) for table in tables])
        return
    for each in formats.split(",")[:1]:
        print_text("\n".join(find_format(each)[1](table) for table in tables))


def choose_reports(name: str | None, model: str | None) -> list[ReportCard]:
    """The report ``name``, or all; on ``model``, all that are made on it or have a section for it."""
    if name is not None:
        return [find_report(name, model)]
    if model is not None:
        find_model(model)
    cards = [find_report(each) for each in card_names("reports")]
    if model is None:
        return cards
    return [find_report(card.name, model) for card in cards if model in (card.model, *card.also_on, *card.models)]


def print_missing(
    name: str | None, results: Path, limit: int | None, roots: dict[str, Path], model: str | None, as_json: bool
) -> None:
    """Print what reports lack: cells with their cost, and what nothing here can fill."""
    gaps = find_gaps(choose_reports(name, model), Store(results), limit, roots)
    if as_json:
        print_json([gap.values() for gap in gaps])
        return
    for gap in gaps:
        print_text(f"{gap.report}: {gap.what}\n    {gap.why}{_cost(gap)}")
    cells, known = sum(gap.cells for gap in gaps), sum(gap.hours or 0.0 for gap in gaps)
    unknown = sum(gap.cells for gap in gaps if gap.hours is None)
    note = f"; {unknown} of them without an estimate" if unknown else ""
    print_text(f"{cells} cells to compute, about {known:.1f} hours on the machine that made {results}{note}")


def _cost(gap: Gap) -> str:
    """What filling it takes, in words."""
    if not gap.cells:
        return ""
    hours = "time unknown" if gap.hours is None else f"about {gap.hours:.2f} hours"
    return f"\n    {gap.cells} cells, {gap.sequences} sequences to predict, {hours}"


def _fill(path: Path, reports: list[Built]) -> None:
    if not path.is_file():
        raise UserError(f"--fill {path}: no such file")
    rendered = {report.card.name: "\n".join(map(to_markdown, report.tables)) for report in reports}
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--fill {path}: not a text file ({error})") from None
    write_file(path, fill_tables(text, rendered).encode())
    print_text(f"filled {path}")


def write_reports(
    reports: list[Built], store: Store, cache: PredictionCache, output: Path, formats: str
) -> list[Result]:
    """Write ``<report>.md|tex|csv`` and its figures to ``output``, and say so; returns the results that the tables show."""
    shown: list[Result] = []
    chosen = [find_format(each) for each in formats.split(",")]
    for report in reports:
        card = report.card
        shown += report.used
        files = []
        for ending, renderer in chosen:
            head = (
                f"# {escape_markdown(card.title)}\n\n{markdown_paragraph(card.summary)}\n\n" if ending == "md" else ""
            )
            text = head + "\n".join(renderer(table) for table in report.tables)
            files.append(write_file(output / f"{card.name}.{ending}", text.encode()))
        files += write_report_figures(report, store, cache, output / "figures")
        note = f"; {len(report.missing)} cells are not stored" if report.missing else ""
        print_text(describe(output / card.name, files) + note)
    return shown


def copy_results(results: list[Result], store: Store, output: Path) -> None:
    """Write the results that the reports show to ``output``/results, so that the folder stands for itself.

    What they were computed on goes along where ``store`` has noted it: captions name it.
    """
    for result in results:
        about = store.computed_on(result)
        if about is None:
            write_json(output / "results" / result.path(), result.values())
        else:
            Store(output / "results").put(result, {COMPUTED_ON: about})


def print_page(page: File) -> None:
    """Say where the page is and how large."""
    verb = "wrote" if page.changed else "up to date:"
    print_text(f"{verb} {page.path} ({page.path.stat().st_size / 1e6:.1f} MB)")


def _table_json(table: Table) -> dict[str, object]:
    return {
        "name": table.name, "title": table.title, "caption": table.caption, "rows": table.frame.to_dict(orient="records")
    }  # fmt: skip
