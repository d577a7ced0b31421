"""How long runs take: from the notes beside stored results, for plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fgq_bench.documents import read_json
from fgq_bench.errors import UserError
from fgq_bench.planning import Run
from fgq_bench.results import Result, Store
from fgq_bench.schema import NotNegative, OpenSchema, fault_of


class Notes(OpenSchema):
    """What of the notes beside a result is read."""

    seconds: NotNegative


@dataclass(frozen=True)
class Pace:
    """Seconds that a sequence took, from the notes beside stored results; by model, method and task."""

    rates: dict[tuple[str, str, str], list[float]]

    @classmethod
    def read(cls, store: Store) -> Pace:
        """Whatever times are noted in ``store``."""
        rates: dict[tuple[str, str, str], list[float]] = {}
        for path in sorted(store.root.glob("*/*/*/*.meta.json")):
            result = path.with_name(path.name.removesuffix(".meta.json") + ".json")
            found = _readable(store, result)
            noted = _noted_seconds(path)
            if found is not None and noted is not None and found.kind == "accuracy" and found.sequences:
                seconds = noted / len(found.sequences)
                key = found.labels["model"], found.conditions["method"]["name"], found.labels["task"]
                rates.setdefault(key, []).append(seconds)
        return cls(rates)

    def seconds(self, run: Run, tasks: list[str]) -> float | None:
        """Of a run with ``tasks``: the slowest one's median for its method, else for the model; None without any."""
        model, slowest = run.loaded.spec.name, 0.0
        for task in tasks:
            own = self.rates.get((model, run.method.card.name, task), [])
            others = [rate for key, rates in self.rates.items() if (key[0], key[2]) == (model, task) for rate in rates]
            if not others:
                return None
            slowest = max(slowest, median(own or others))
        return slowest * len(run.dataset.sequences())

    def hours(self, runs: Iterable[tuple[Run, list[str]]]) -> float | None:
        """Of all ``runs`` with their tasks, one after the other; None where nothing comparable is stored for one."""
        times = [self.seconds(run, tasks) for run, tasks in runs]
        known = [each for each in times if each is not None]
        return sum(known) / 3600 if len(known) == len(times) else None


def _readable(store: Store, path: Path) -> Result | None:
    """The result in a file; None where it is missing or damaged: it only serves an estimate."""
    try:
        return store.read(path) if path.is_file() else None
    except UserError:
        return None


def _noted_seconds(path: Path) -> float | None:
    """How long a run took, as noted beside its result; None where that is damaged: it only serves an estimate."""
    try:
        notes = read_json(path)
    except (OSError, ValueError):
        return None
    return None if fault_of(Notes, notes) else float(notes["seconds"])
