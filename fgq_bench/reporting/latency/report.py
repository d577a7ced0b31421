"""The latency report: every table and figure that the stored results allow, per model and machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fgq_bench.reporting.formats import find_format, one_line, plain_name
from fgq_bench.reporting.latency.accuracy import Scatter, accuracy_table, read_scatters
from fgq_bench.reporting.latency.accuracy_figure import draw_accuracy
from fgq_bench.reporting.latency.breakdown_figure import draw_breakdown
from fgq_bench.reporting.latency.breakdown_tables import breakdown_tables, parts_of
from fgq_bench.reporting.latency.layer_tables import layer_tables
from fgq_bench.reporting.latency.memory_figure import draw_memory
from fgq_bench.reporting.latency.memory_tables import memory_runs, memory_tables
from fgq_bench.reporting.latency.network_tables import NETWORKS, network_tables
from fgq_bench.reporting.latency.selection import Setting, grouped, of_subjects, read_latency
from fgq_bench.reporting.tables import Table
from fgq_bench.reporting.writing import File, write_file
from fgq_bench.results import Result, Store

NAME = "latency"
HEAD = (
    "# Latency\n\nMeasured times, memory and where time goes, each against bf16 in the same run. Only results of one model, "
    "machine, torch and backend stand in one table.\n\n"
)


def latency_tables(store: Store) -> list[Table]:
    """Every table, model by model and machine by machine; empty without latency results."""
    settings = grouped(read_latency(store), Setting.of)
    return [table for setting, results in settings.items() for table in _tables(setting, results, store)]


def write_latency_report(store: Store, output: Path, formats: str) -> tuple[list[File], list[Result]]:
    """Write ``output``/latency.md|tex|csv and ``output``/figures/latency-*; nothing where no latency result is stored.

    Returns the files, and the results shown: those of latency, and of accuracy where they stand beside one.
    """
    shown = read_latency(store)
    if not shown:
        return [], []
    tables = latency_tables(store)
    files: list[File] = []
    for ending, render in map(find_format, formats.split(",")):
        texts = [
            f"# {one_line(table.title)}\n{render(table)}" if ending == "csv" else render(table) for table in tables
        ]
        text = (HEAD if ending == "md" else "") + "\n".join(texts)
        files.append(write_file(output / f"{NAME}.{ending}", text.encode()))
    for setting, results in grouped(shown, Setting.of).items():
        scatters = read_scatters(store, results)
        files += _figures(setting, results, scatters, output / "figures")
        shown += [result for scatter in scatters for pair in scatter.pairs for result in pair.used]
    return files, shown


def _tables(setting: Setting, results: list[Result], store: Store) -> list[Table]:
    return [
        *layer_tables(setting, results),
        *network_tables(setting, results),
        *memory_tables(setting, results),
        *breakdown_tables(setting, results),
        *(accuracy_table(setting, scatter) for scatter in read_scatters(store, results)),
    ]


def _figures(setting: Setting, results: list[Result], scatters: Sequence[Scatter], folder: Path) -> list[File]:
    """``latency-<what>-<setting>.png|pdf`` of what there is."""
    files: list[File] = []
    if runs := memory_runs(results):
        files += draw_memory(setting, runs, folder / f"{NAME}-memory-{setting.slug}")
    timed = [result for result in of_subjects(results, *NETWORKS) if parts_of(result)]
    for what, cases in grouped(timed, lambda r: r.conditions.get("block") or r.conditions["subject"]).items():
        files += draw_breakdown(setting, cases, results, folder / plain_name(f"{NAME}-breakdown-{what}-{setting.slug}"))
    for scatter in scatters:
        files += draw_accuracy(
            setting, scatter, folder / plain_name(f"{NAME}-accuracy-{scatter.dataset}-{setting.slug}")
        )
    return files
