"""``compare``: one row of a report against another, sequence by sequence."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.commands.given import check_roots, datasets_of
from fgq_bench.commands.printing import print_json, print_rows
from fgq_bench.errors import UserError
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.reports import find_report, plain_parts, plan_reports, split_runs
from fgq_bench.reporting.statistics import paired_difference
from fgq_bench.reporting.tables import Row, read_rows
from fgq_bench.results import Store
from fgq_bench.suggest import unknown


def compare_rows(
    first: str, second: str, report: str, model: str | None, results: Path, roots: dict[str, Path], as_json: bool
) -> None:
    """Print first - second for every column and data set of ``report``, with paired bootstrap intervals."""
    card = find_report(report, model)
    if not plain_parts(card):
        raise UserError(f"report {report} scores nothing here: there are no rows to compare")
    ((_, runs),) = plan_reports([card], None, roots=roots)
    check_roots(roots, datasets_of(runs))
    store = Store(results)
    found = []
    parts = [(part, *each) for part, own in split_runs(card, runs) for each in read_rows(part, own, store).items()]
    for part, dataset, rows in parts:
        a, b = (_row(rows, text, report) for text in (first, second))
        for column in map(Column.parse, part.columns):
            samples = [row.sample(column) for row in (a, b)]
            if samples[0] is None or samples[1] is None:
                missing = first if samples[0] is None else second
                raise UserError(
                    f"{results}: no complete result of {missing!r} with {part.model} on {dataset} for report {report}"
                )
            difference = paired_difference(samples[0], samples[1])
            better = (difference.value > 0) == column.higher_is_better
            verdict = (first if better else second) if difference.excludes_zero else "not told apart"
            found.append({"model": part.model, "dataset": dataset, "metric": column.heading, "difference": column.cell(difference), "better": verdict})  # fmt: skip
    if as_json:
        print_json(found)
    else:
        print_rows(f"{first} - {second}: paired bootstrap over sequences, 95 % (seeds are averaged first)", found)


def _row(rows: list[Row], text: str, report: str) -> Row:
    by_text = {row.asked.text: row for row in rows}
    if text not in by_text:
        raise unknown(f"row of report {report}", text, by_text)
    return by_text[text]
