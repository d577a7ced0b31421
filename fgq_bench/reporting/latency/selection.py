"""Which latency results are stored, and which of them may stand in one table: same model, machine, torch, backend."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from fgq_bench.latency.variants import BASELINE
from fgq_bench.result_kinds.latency import ROLES, SUBJECTS
from fgq_bench.results import Result, Store

K = TypeVar("K")


@dataclass(frozen=True)
class Setting:
    """What the results of one table have in common."""

    model: str
    device: str  # its name
    kind: str  # cpu or cuda
    threads: int
    torch: str
    backend: str
    processor: str = ""  # its model, instructions, how threads wait; empty where that was not noted yet

    @classmethod
    def of(cls, result: Result) -> Setting:
        """The setting of a latency result."""
        c, device = result.conditions, result.conditions["device"]
        return cls(
            c["model"]["name"], device["name"], device["type"], device["threads"], c["torch"], c["variants"]["backend"],
            processor_of(device),
        )  # fmt: skip

    @property
    def machine(self) -> str:
        """Device, threads, software: one line for titles."""
        threads = f", {self.threads} threads" if self.kind == "cpu" else ""
        return f"{self.device_in_full} ({self.kind}{threads}), torch {self.torch}, backend {self.backend}"

    @property
    def device_in_full(self) -> str:
        """Its name; of a CPU what tells it from others of that name, too."""
        return f"{self.device} [{self.processor}]" if self.processor else self.device

    @property
    def slug(self) -> str:
        """For file names and labels."""
        parts = (self.model, self.device, self.threads, self.backend, self.torch, self.processor)
        return re.sub(r"[^a-z0-9.]+", "-", " ".join(map(str, parts)).lower().strip())


def processor_of(device: dict[str, Any]) -> str:
    """What a result's key says of a CPU beside its name; empty for a GPU, and where the key is older than that."""
    if "processor" not in device:
        return ""
    return f"{device['processor']}; {device['instructions']}; waiting threads: {device['waiting']}"


def read_latency(store: Store) -> list[Result]:
    """Every stored latency result that can be read, smallest subject first, then by size."""
    results = store.readable(store.root.glob("*/latency/*/*/*.json"))
    return sorted((each for each in results if each.kind == "latency"), key=_order)


def _order(result: Result) -> tuple[int, int, int, int, str]:
    c = result.conditions
    role = ROLES.index(c["role"]) if c.get("role") in ROLES else len(ROLES)
    return (
        SUBJECTS.index(c["subject"]), c.get("image_size", 0), c.get("frames") or c.get("tokens", 0), role, c["case"]
    )  # fmt: skip


def grouped(results: Iterable[Result], key: Callable[[Result], K]) -> dict[K, list[Result]]:
    """Results by ``key``, both in the order of first sight."""
    groups: dict[K, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return groups


def of_subjects(results: Iterable[Result], *subjects: str) -> list[Result]:
    """The results of these subjects."""
    return [result for result in results if result.conditions["subject"] in subjects]


def comparison(result: Result) -> str:
    """What identifies the compared variants: results that differ here are different runs of the harness."""
    return json.dumps([result.conditions["model"], result.conditions["variants"]], sort_keys=True)


def label_of(compilation: dict[str, Any]) -> str:
    """``METHOD[:PRESET]`` of one of a network result's variants."""
    return str(compilation["method"]["name"]) + (f":{compilation['preset']}" if compilation["preset"] else "")


def variants_of(result: Result) -> dict[str, dict[str, Any]]:
    """Metrics by variant: the baseline, then the others as they were asked for (files keep them by name)."""
    asked = [f"{label_of(each)} {each['scheme']}" for each in result.conditions["variants"].get("variants", [])]
    names = [name for name in (BASELINE, *asked) if name in result.metrics]
    return {name: result.metrics[name] for name in dict.fromkeys([*names, *result.metrics])}


def succeeded(result: Result) -> dict[str, dict[str, Any]]:
    """Metrics of the variants that ran, in the same order."""
    return {name: entry for name, entry in variants_of(result).items() if "value" in entry}


def case_label(result: Result) -> str:
    """Such as ``global block, 2 x 518 px``: subject, frames, image size."""
    c = result.conditions
    what = f"{c['block']} block" if c["subject"] == "blocks" else c["subject"]
    return f"{what}, {c['frames']} x {c['image_size']} px"


def errors(results: Iterable[Result]) -> str:
    """A caption's sentence on the variants that failed, each with the first line of its error; empty if none did."""
    found = [
        f"{result.conditions['case']}, {name}: {' '.join(entry['error'].split())[:120]}"
        for result in results
        for name, entry in variants_of(result).items()
        if "error" in entry
    ]
    reasons = {
        f"{name} ({'; '.join(entry['refused'].values())})"
        for result in results
        for name, entry in variants_of(result).items()
        if "refused" in entry
    }
    refused = f" Refused by every kernel: {'; '.join(sorted(reasons))}." if reasons else ""
    return (f" Failed: {'; '.join(found)}." if found else "") + refused
