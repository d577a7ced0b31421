"""Accuracy beside latency: stored agreement with full precision of the same method, scheme, scope and options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.latency.cells import milliseconds, speedup
from fgq_bench.reporting.latency.selection import Setting, grouped, label_of, of_subjects, variants_of
from fgq_bench.reporting.statistics import Interval, interval, sample_of
from fgq_bench.reporting.tables import MISSING, Cell, Table
from fgq_bench.results import Result, Store

METRIC = "rotation"  # degrees, of task agreement
Conditions = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One variant with its time and its error; ``used`` are the accuracy results, one per seed (none for bf16)."""

    variant: str
    entry: dict[str, Any]  # its latency metrics
    error: Interval  # degrees
    used: tuple[Result, ...] = ()

    @property
    def seconds(self) -> float:
        """Median time."""
        return float(self.entry["value"])


@dataclass(frozen=True)
class Scatter:
    """The pairs of one latency result on one data set, bf16 (0 degrees) first."""

    latency: Result
    dataset: str
    pairs: tuple[Pair, ...]

    def front(self) -> list[Pair]:
        """Pairs that no other beats in both time and error, fastest first."""
        best: list[Pair] = []
        for pair in sorted(self.pairs, key=lambda pair: (pair.seconds, pair.error.value)):
            if not best or pair.error.value < best[-1].error.value:
                best.append(pair)
        return best


def read_scatters(store: Store, results: list[Result]) -> list[Scatter]:
    """Pairs of one model's aggregator by data set, at the number of frames with most of them (largest of equals)."""
    scatters: dict[str, Scatter] = {}
    aggregators = of_subjects(results, "aggregator")
    models = dict.fromkeys(result.conditions["model"]["name"] for result in aggregators)
    scored = store.readable(path for model in models for path in store.root.glob(f"{model}/*/agreement/*.json"))
    for latency in aggregators:
        if "value" not in latency.metrics.get(BASELINE, {}):
            continue
        for dataset, found in grouped(scored, lambda r: str(r.conditions["dataset"]["name"])).items():
            pairs = _pairs(latency, [result for result in found if result.status == "ok"])
            if len(pairs) >= max(2, len(scatters[dataset].pairs) if dataset in scatters else 0):
                scatters[dataset] = Scatter(latency, dataset, tuple(pairs))
    return list(scatters.values())


def _pairs(latency: Result, scored: list[Result]) -> list[Pair]:
    pairs = [Pair(BASELINE, latency.metrics[BASELINE], Interval(0.0, 0.0, 0.0))]
    for name, entry in variants_of(latency).items():
        compiled = _compilation(latency, entry)
        if compiled is None or "value" not in entry:
            continue
        used = _matching(compiled, latency.conditions["variants"]["backend"], scored)
        if used:
            pairs.append(Pair(name, entry, interval(sample_of(used, METRIC)), tuple(used)))
    return pairs


def _compilation(latency: Result, entry: dict[str, Any]) -> Conditions | None:
    """The artefact's identity among those that the latency result lists."""
    for each in latency.conditions["variants"]["variants"]:
        if (label_of(each), each["scheme"]) == (entry.get("method"), entry.get("scheme")):
            return dict(each)
    return None


def _matching(compiled: Conditions, backend: str, scored: list[Result]) -> list[Result]:
    """Results of one artefact, one per seed: same method, options, preset, scheme and scope; then, where there is such
    a one, same checkpoint, calibration and backend (else the reference); of several lists of frames the longest.
    """
    must = ("method", "preset", "scheme", "scope")
    found = [result for result in scored if all(result.conditions[key] == compiled[key] for key in must)]
    wishes: list[Callable[[Conditions], bool]] = [
        lambda c: bool(c["model"] == compiled["model"]),
        lambda c: bool(c["calibration"] == compiled["calibration"]),
        lambda c: bool(c["backend"] == backend),
        lambda c: bool(c["backend"] == "reference"),
    ]
    for wish in wishes:
        found = [result for result in found if wish(result.conditions)] or found
    same = grouped(found, lambda r: str({k: v for k, v in r.conditions.items() if k != "seed"}))
    return max(same.values(), key=lambda group: len(group[0].sequences), default=[])


def accuracy_table(setting: Setting, scatter: Scatter) -> Table:
    """Time and error of every pair; bold: on the Pareto front."""
    c, front = scatter.latency.conditions, {pair.variant for pair in scatter.front()}
    rows = []
    for pair in scatter.pairs:
        used, error = pair.used, pair.error
        degrees = f"{error.value:.2f} [{error.low:.2f}, {error.high:.2f}]" if used else "0 (by definition)"
        backend = used[0].conditions["backend"] if used else MISSING
        texts = [milliseconds(pair.entry, interval=True), speedup(pair.entry), degrees, backend]
        mark = "best" if pair.variant in front else ""
        rows.append([Cell(pair.variant, mark), Cell(pair.entry.get("scheme", MISSING)), *map(Cell, texts)])
    caption = (
        f"{setting.model}, aggregator, {c['frames']} x {c['image_size']} px on {setting.machine}, against Δ rotation on "
        f"{scatter.dataset}: mean angle to the camera rotations of full precision on the same frames, mean over seeds, 95 % "
        "bootstrap interval over sequences. Same method, options, scheme and scope in both; the error does not depend on "
        "the machine, but was measured with the backend named. Bold: no other variant is both faster and closer."
    )
    heads = ["Variant", "Scheme", "ms [p20, p80]", "speed-up", "Δ rotation (°) ↓", "error measured with"]
    title = f"Accuracy against latency: {setting.model}, {scatter.dataset}, {setting.machine}"
    return Table(f"latency-accuracy-{setting.slug}-{scatter.dataset}", title, caption, heads, rows)
