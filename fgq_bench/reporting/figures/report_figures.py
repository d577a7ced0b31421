"""The figures of a report: accuracy against bits, ranking, depth sheets, point clouds; of a paper's table its losses."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.cards import ReportCard
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.figures.bits import draw_bits
from fgq_bench.reporting.figures.depth_sheet import draw_depth_sheet
from fgq_bench.reporting.figures.paper_losses import draw_paper_losses
from fgq_bench.reporting.figures.point_clouds import draw_point_clouds, has_points
from fgq_bench.reporting.figures.ranking import draw_ranking
from fgq_bench.reporting.papers.comparison import Comparison
from fgq_bench.reporting.papers.layout import layout
from fgq_bench.reporting.reports import Built, read_places
from fgq_bench.reporting.statistics import Sample
from fgq_bench.reporting.tables import Row
from fgq_bench.reporting.writing import File
from fgq_bench.results import Store
from fgq_bench.tasks.base import SequencePrediction

FIELDS = frozenset({"pose_enc", "depth"})


def write_report_figures(report: Built, store: Store, cache: PredictionCache, folder: Path) -> list[File]:
    """Draw what the stored results and cached predictions allow.

    A plain card has figures where it names ``pictures``; a paper's table has one where something is measured.
    """
    card = report.card
    if card.published is not None:
        compared = Comparison(layout(card), read_places(card, report.runs, store))
        return draw_paper_losses(compared, folder / card.name)
    if not card.pictures:
        return []
    columns = [Column.parse(text) for text in card.columns]
    shown = {column.task: column for column in reversed(columns)}  # the first column of each task
    files: list[File] = []
    for each in report.sections:
        title, other = each.table.title, each.card.model != card.model
        stem = f"{card.name}-{each.dataset}" + (f"-{each.card.model}" if other else "")
        files += draw_bits(each.rows, list(shown.values())[::-1], title, folder / f"{stem}-bits")
        for column in shown.values():
            files += _ranking(each.rows, column, title, folder / f"{stem}-ranking-{column.task}")
        files += _pictures(card, each.rows, cache, folder / stem)
    return files


def _ranking(rows: list[Row], column: Column, title: str, stem: Path) -> list[File]:
    """Methods at one scheme, the one at which most of them have a result."""
    by_scheme: dict[str, dict[str, Sample]] = {}
    for row in rows:
        sample = row.sample(column)
        if sample is not None and not row.runs[0].scheme.is_float:
            by_scheme.setdefault(str(row.runs[0].scheme), {})[row.asked.label] = sample
    scheme, samples = max(by_scheme.items(), key=lambda item: len(item[1]), default=("", {}))
    if len(samples) < 2:
        return []
    return draw_ranking(samples, column.higher_is_better, f"{title}, {scheme}: {column.heading}", stem)


def _pictures(card: ReportCard, rows: list[Row], cache: PredictionCache, stem: Path) -> list[File]:
    """Depth sheet and point clouds of the first sequence, for the card's ``pictures``; none without its true points."""
    chosen = [row for row in rows if row.asked.text in card.pictures]
    if not chosen:
        return []
    dataset = chosen[0].runs[0].dataset
    sequence = dataset.sequences()[0]
    predictions: dict[str, SequencePrediction] = {}
    for row in chosen:
        cached = cache.get(row.runs[0].prediction_key(sequence), FIELDS)
        if cached is not None:
            predictions[row.asked.text] = cached
    if not predictions:
        return []
    scene = dataset.load(sequence)
    if not has_points(scene):
        return []
    sheet = draw_depth_sheet(scene, predictions, stem.with_name(f"{stem.name}-depth"))
    return sheet + draw_point_clouds(scene, predictions, stem.with_name(f"{stem.name}-points"))
