"""Published columns that are no score of predictions: bytes, times, peaks, cost of calibration, from stored results."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fgq_bench.cards import ReportCard
from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.costs import read_costs
from fgq_bench.reporting.latency.cells import Entry, number, speedup, times
from fgq_bench.reporting.latency.selection import (
    Setting,
    case_label,
    grouped,
    label_of,
    of_subjects,
    processor_of,
    read_latency,
    succeeded,
)
from fgq_bench.reporting.papers.layout import Layout, PaperColumn
from fgq_bench.reporting.rows import RowText
from fgq_bench.results import Result, Store

_NETWORKS = ("model", "aggregator")  # what stands for "the network", best first
_FRAMES = re.compile(r"([0-9]+)(?: input)? frames")


@dataclass(frozen=True)
class Sources:
    """What is stored, besides scores, of the model of a table; ``rows`` are all of the table's."""

    card: ReportCard
    rows: list[RowText]
    sizes: Mapping[str, str]  # by the row's text: how many times as small as bf16 its artefact is
    latency: list[Result]
    costs: list[Result]

    @classmethod
    def read(cls, layout: Layout, store: Store, sizes: Mapping[str, str]) -> Sources:
        """Everything of the model in ``store``."""
        card = layout.card

        def own(results: list[Result]) -> list[Result]:
            return [each for each in results if each.conditions["model"]["name"] == card.model]

        rows = [RowText.parse(card.name, text) for text in layout.texts]
        return cls(card, rows, sizes, own(read_latency(store)), own(read_costs(store)))


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
    """The number of frames that a timed column is about; None for any."""
    found = _FRAMES.search(column.first.printed.dataset)
    return int(found[1]) if found else None


def _chosen_case(sources: Sources, column: PaperColumn, subjects: tuple[str, ...]) -> list[Result]:
    """The results of the one case that a column shows: of the card's scope and the column's number of frames.

    Of several, that with most of the table's rows; then the first subject, then most frames.
    """
    asked = frames_of(column)
    fitting = [
        each
        for each in of_subjects(sources.latency, *subjects)
        if each.conditions["variants"]["scope"] == sources.card.scope and asked in (None, each.conditions["frames"])
    ]
    cases = grouped(fitting, lambda each: (each.conditions["subject"], each.conditions["case"], Setting.of(each)))

    def worth(results: list[Result]) -> tuple[int, int, int]:
        c, timed = results[0].conditions, {name for each in results for name in succeeded(each)}
        return sum(_variant(row) in timed for row in sources.rows), -subjects.index(c["subject"]), c["frames"]

    return max(cases.values(), key=worth, default=[])


def _variant(row: RowText) -> str:
    """A latency result's name of the row; rows with options are not timed."""
    return BASELINE if row.method == "fp" else " ".join([row.method, row.scheme, *row.options])


def _where(result: Result) -> str:
    return f"{case_label(result)}, scope {result.conditions['variants']['scope']}, {Setting.of(result).machine}"


def _of_network(
    show: Callable[[Entry, Result], str | None], subjects: tuple[str, ...] = _NETWORKS
) -> Callable[[Sources, PaperColumn, RowText], Measured | None]:
    """A measure that ``show``s the row's entry in the column's case."""

    def read(sources: Sources, column: PaperColumn, row: RowText) -> Measured | None:
        for result in _chosen_case(sources, column, subjects):
            entry = succeeded(result).get(_variant(row))
            text = None if entry is None else show(entry, result)
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


def _smaller(sources: Sources, column: PaperColumn, row: RowText) -> Measured | None:
    """Of the whole model, as the artefact is stored: that of a scored row, else of a timed one."""
    where = f"memory reduction: bytes of the whole model as stored, scope {sources.card.scope}"
    if row.method == "fp":
        return Measured("1.00x", where)
    if row.text in sources.sizes:
        return Measured(sources.sizes[row.text], where)
    for result in sources.latency:
        sizes = succeeded(result).get(_variant(row), {}).get("stored_bytes")
        if sizes and result.conditions["variants"]["scope"] == sources.card.scope:
            return Measured(f"{sizes['total_bf16'] / sizes['total']:.2f}x", where)
    return None


def _peak(entry: Entry, result: Result) -> str | None:
    base, own = result.metrics[BASELINE].get("peak_bytes", {}), entry.get("peak_bytes", {})
    return f"{base['allocated'] / own['allocated']:.2f}x" if "allocated" in base and "allocated" in own else None


def _cost(show: Callable[[Result], Measured | None]) -> Callable[[Sources, PaperColumn, RowText], Measured | None]:
    """A measure of what calibrating the row cost, all rows on the machine that has most of them."""

    def read(sources: Sources, column: PaperColumn, row: RowText) -> Measured | None:
        machines = grouped(sources.costs, _machine)
        found = [[_cost_of(sources, results, each) for each in sources.rows] for results in machines.values()]
        most = max(range(len(found)), key=lambda place: sum(each is not None for each in found[place]), default=None)
        result = None if most is None else _cost_of(sources, list(machines.values())[most], row)
        return None if result is None else show(result)

    return read


def _machine(result: Result) -> str:
    device = result.conditions["device"]
    processor = f" [{found}]" if (found := processor_of(device)) else ""
    return f"calibrated on {device['name']}{processor} ({device['type']}), torch {result.conditions['torch']}"


def _cost_of(sources: Sources, results: list[Result], row: RowText) -> Result | None:
    """The measured cost of ``row`` among ``results``."""
    asked = row.calibration or sources.card.calibration
    for result in results:
        c = result.conditions
        manifest = None if c["calibration"] is None else c["calibration"]["manifest"]
        same = (label_of(c), c["scheme"], c["scope"]) == (row.method, row.scheme, sources.card.scope)
        if same and not row.options and result.status == "ok" and asked in (None, manifest):
            return result
    return None


def _time(result: Result) -> Measured:
    minutes = {name: entry["value"] / 60 for name, entry in result.metrics.items() if entry["unit"] == "seconds"}
    parts = {"Fisher information": minutes["fisher_seconds"], "torch.compile": minutes["compilation_seconds"]}
    shown = ", ".join(f"{value:.1f} {name}" for name, value in parts.items() if value)
    text = f"{minutes['seconds']:.1f} min" + (f" (of them {shown})" if shown else "")
    return Measured(text, _machine(result))


def _calibration_peak(result: Result) -> Measured | None:
    """Peak while quantizing: of the GPU where there is one, else of the host; None where the system does not tell."""
    on_gpu = "peak_device_bytes" in result.metrics
    peak = result.metrics.get("peak_device_bytes" if on_gpu else "peak_host_bytes")
    if peak is None:
        return None
    what = "peak memory of the GPU, model included" if on_gpu else "peak memory of the host, above the loaded model"
    return Measured(f"{peak['value'] / 1e9:.2f} GB", f"{what}, {_machine(result)}")


_LATENCY = "latency --subject model"
_COST = "cost"
MEASURES: dict[str, Measure] = {
    "memory_reduction_x": Measure(_smaller, _LATENCY),
    "latency_speedup_x": Measure(_of_network(_speed), _LATENCY),
    "relative_latency": Measure(_of_network(_relative_latency), _LATENCY),
    "latency_s": Measure(_of_network(_seconds), _LATENCY),
    "peak_memory_reduction_x": Measure(_of_network(_peak), _LATENCY),
    "speedup_full_block_x": Measure(_of_network(_speed, ("blocks",)), "latency --subject blocks"),
    "calib_gpu_hours": Measure(_cost(_time), _COST),
    "calib_GPU_time_min": Measure(_cost(_time), _COST),
    "calib_gpu_memory_GB": Measure(_cost(_calibration_peak), _COST),
}
"""By the printed metric's name."""
