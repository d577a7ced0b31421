"""Published columns that are no score of predictions: bytes, times, peaks, cost of calibration, from stored results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fgq_bench.cards import ReportCard
from fgq_bench.latency.cases import BASELINE
from fgq_bench.reporting.costs import read_costs
from fgq_bench.reporting.latency.cells import Entry, number, speedup, times
from fgq_bench.reporting.latency.selection import (
    Setting,
    case_label,
    label_of,
    of_subjects,
    read_latency,
    succeeded,
)
from fgq_bench.reporting.papers.layout import PaperColumn
from fgq_bench.reporting.rows import RowText
from fgq_bench.results import Result, Store

_NETWORKS = ("model", "aggregator")  # what stands for "the network", best first
_FRAMES = re.compile(r"(\d+)(?: input)? frames")


@dataclass(frozen=True)
class Sources:
    """What is stored of a card's model besides its scores."""

    card: ReportCard
    sizes: Mapping[str, str]  # by the row's text: how many times as small as bf16 its artefact is
    latency: list[Result]
    costs: list[Result]

    @classmethod
    def read(cls, card: ReportCard, store: Store, sizes: Mapping[str, str]) -> Sources:
        """Everything of the card's model in ``store``."""

        def own(results: list[Result]) -> list[Result]:
            return [each for each in results if each.conditions["model"]["name"] == card.model]

        return cls(card, sizes, own(read_latency(store)), own(read_costs(store)))


@dataclass(frozen=True)
class Measured:
    """A value's text and the conditions that a caption must name."""

    text: str
    where: str


@dataclass(frozen=True)
class Measure:
    """How a printed metric is measured here, and the verb that does it."""

    read: Callable[[Sources, PaperColumn, RowText], Measured | None]
    verb: str


def measure_of(column: PaperColumn) -> Measure | None:
    """How the column is measured here; None where it is not."""
    return MEASURES.get(column.first.metric)


def frames_of(column: PaperColumn) -> int | None:
    """The number of frames that a column is about; None for any, and for scores."""
    found = _FRAMES.search(column.first.printed.dataset) if column.first.protocol is None else None
    return int(found[1]) if found else None


def _network_entries(
    sources: Sources, column: PaperColumn, row: RowText, subjects: tuple[str, ...]
) -> Iterator[tuple[Result, Entry]]:
    """Timed variants of ``row``, best subject first, then the card's scope, then most frames.

    A column that is about a number of frames takes no other; one of a data set takes any, and the caption says which.
    """
    asked = frames_of(column)

    def order(result: Result) -> tuple[bool, int]:
        c = result.conditions
        return c["variants"]["scope"] != sources.card.scope, -c["frames"]

    for subject in subjects:
        for result in sorted(of_subjects(sources.latency, subject), key=order):
            entry = succeeded(result).get(_variant(row))
            if entry is not None and (asked is None or result.conditions["frames"] == asked):
                yield result, entry


def _variant(row: RowText) -> str:
    """A latency result's name of the row; rows with options are not timed."""
    return BASELINE if row.method == "fp" else " ".join([row.method, row.scheme, *row.options])


def _where(result: Result) -> str:
    return f"{case_label(result)}, scope {result.conditions['variants']['scope']}, {Setting.of(result).machine}"


def _of_network(
    show: Callable[[Entry, Result], str | None], subjects: tuple[str, ...] = _NETWORKS
) -> Callable[[Sources, PaperColumn, RowText], Measured | None]:
    """A measure that ``show``s the first entry that has it."""

    def read(sources: Sources, column: PaperColumn, row: RowText) -> Measured | None:
        for result, entry in _network_entries(sources, column, row, subjects):
            text = show(entry, result)
            if text is not None:
                return Measured(text, _where(result))
        return None

    return read


def _speed(entry: Entry, result: Result) -> str | None:
    return speedup(entry) if "speedup" in entry else None


def _relative_latency(entry: Entry, result: Result) -> str | None:
    found = entry.get("speedup")
    return None if not found else times(1 / found["value"], 1 / found["ci_high"], 1 / found["ci_low"])


def _seconds(entry: Entry, result: Result) -> str | None:
    return f"{number(entry['value'])} s"


def _stored(entry: Entry, result: Result) -> str | None:
    sizes = entry.get("stored_bytes")
    return f"{sizes['total_bf16'] / sizes['total']:.2f}x" if sizes else None


def _smaller(sources: Sources, column: PaperColumn, row: RowText) -> Measured | None:
    """Of the whole model, as the artefact is stored: that of a scored row, else of a timed one."""
    if row.method == "fp":
        return Measured("1.00x", "bytes of the whole model as stored")
    if row.text in sources.sizes:
        return Measured(sources.sizes[row.text], "bytes of the whole model as stored")
    return _of_network(_stored)(sources, column, row)


def _peak(entry: Entry, result: Result) -> str | None:
    base, own = result.metrics[BASELINE].get("peak_bytes", {}), entry.get("peak_bytes", {})
    return f"{base['allocated'] / own['allocated']:.2f}x" if "allocated" in base and "allocated" in own else None


def _cost(show: Callable[[Result], str]) -> Callable[[Sources, PaperColumn, RowText], Measured | None]:
    """A measure of what calibrating the row cost."""

    def read(sources: Sources, column: PaperColumn, row: RowText) -> Measured | None:
        for result in sources.costs:
            c = result.conditions
            manifest = None if c["calibration"] is None else c["calibration"]["manifest"]
            asked = row.calibration or sources.card.calibration
            same = (label_of(c), c["scheme"], c["scope"]) == (row.method, row.scheme, sources.card.scope)
            if same and not row.options and result.status == "ok" and (asked is None or asked == manifest):
                device = c["device"]
                return Measured(show(result), f"calibration on {device['name']} ({device['type']}), torch {c['torch']}")
        return None

    return read


def _hours(result: Result) -> str:
    metrics = result.metrics
    fisher = metrics.get("fisher_seconds", {}).get("value", 0.0)
    text = f"{metrics['seconds']['value'] / 60:.1f} min"
    return text + (f" ({fisher / 60:.1f} of them Fisher)" if fisher else "")


def _calibration_peak(result: Result) -> str:
    peak = result.metrics.get("peak_device_bytes") or result.metrics["peak_host_bytes"]
    return f"{peak['value'] / 1e9:.2f} GB"


_LATENCY = "latency --subject model"
_COST = "cost"
MEASURES: dict[str, Measure] = {
    "memory_reduction_x": Measure(_smaller, _LATENCY),
    "latency_speedup_x": Measure(_of_network(_speed), _LATENCY),
    "relative_latency": Measure(_of_network(_relative_latency), _LATENCY),
    "latency_s": Measure(_of_network(_seconds), _LATENCY),
    "peak_memory_reduction_x": Measure(_of_network(_peak), _LATENCY),
    "speedup_full_block_x": Measure(_of_network(_speed, ("blocks",)), "latency --subject blocks"),
    "calib_gpu_hours": Measure(_cost(_hours), _COST),
    "calib_GPU_time_min": Measure(_cost(_hours), _COST),
    "calib_gpu_memory_GB": Measure(_cost(_calibration_peak), _COST),
}
"""By the printed metric's name."""
