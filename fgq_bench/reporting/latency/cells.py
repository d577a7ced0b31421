"""Texts of cells and captions: units, intervals, missing and failed values, the command that makes a table again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fgq_bench.reporting.latency.selection import Setting, label_of
from fgq_bench.reporting.tables import FAILED, MISSING
from fgq_bench.results import Result

Entry = dict[str, Any]  # one variant's metrics

METHOD = (
    "Variants of a case are interleaved in rounds; times are medians over rounds [p20, p80]; x is how many times as "
    "fast as bf16 in the same run, with a 95 % bootstrap interval over rounds (below about ten rounds it is too narrow)."
)
INTEGERS = "W4A4 on this hardware: weights stored in 4 bits, codes multiplied in int8 arithmetic, no int4 arithmetic."


def number(value: float) -> str:
    """Three significant digits, without exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:.{min(max(2 - math.floor(math.log10(abs(value))), 0), 4)}f}"


def without_value(entry: Entry | None) -> str:
    """What stands for a time that there is not: no kernel took the variant, it failed, or nobody timed it."""
    if entry is None:
        return MISSING
    return "refused" if "refused" in entry else FAILED


def milliseconds(entry: Entry | None, interval: bool = False) -> str:
    """``12.1 [11.5, 12.9]`` in ms; the entry's stored seconds."""
    if entry is None or "value" not in entry:
        return without_value(entry)
    if not interval:
        return number(1e3 * entry["value"])
    return f"{number(1e3 * entry['value'])} [{number(1e3 * entry['p20'])}, {number(1e3 * entry['p80'])}]"


def times(value: float, low: float, high: float) -> str:
    """``1.68x [1.63, 1.72]``."""
    return f"{value:.2f}x [{low:.2f}, {high:.2f}]"


def speedup(entry: Entry | None) -> str:
    """Speed-up over bf16 with its interval."""
    if entry is None or "value" not in entry:
        return without_value(entry)
    found = entry.get("speedup")
    return times(found["value"], found["ci_low"], found["ci_high"]) if found else MISSING


def percent(fraction: float | None) -> str:
    """``97 %`` of a fraction."""
    return MISSING if fraction is None else f"{100 * fraction:.0f} %"


def megabytes(count: float | None) -> str:
    """10^6 bytes."""
    return MISSING if count is None else number(count / 1e6)


def peaks_text(results: Iterable[Result]) -> str:
    """The measured peaks that roofline shares refer to: medians over ``results``."""
    units = {
        "bf16_flops": (1e12, "bf16 {} TFLOP/s"),
        "int8_ops": (1e12, "int8 {} TOP/s"),
        "bandwidth": (1e9, "{} GB/s"),
    }
    found = [result.execution.get("peaks", {}) for result in results]
    texts = []
    for name, (factor, text) in units.items():
        values = [peaks[name] for peaks in found if peaks.get(name)]
        if values:
            texts.append(text.format(number(float(np.median(values)) / factor)))
    return ", ".join(texts)


def command(setting: Setting, results: list[Result]) -> str:
    """The ``fgq-bench latency`` call that makes these results."""
    parts = ["fgq-bench latency", f"--model {setting.model}"]
    asked: dict[str, list[str]] = {"--subject": [], "-m": [], "-b": [], "--scope": [], "--tokens": [], "--frames": []}
    asked["--size"] = []
    for c in (result.conditions for result in results):
        compilations = c["variants"].get("variants", [])
        asked["--subject"].append(c["subject"])
        asked["-m"] += map(label_of, compilations)
        asked["-b"] += c["variants"].get("schemes", []) + [each["scheme"] for each in compilations]
        asked["--scope"] += [c["variants"]["scope"]] if "scope" in c["variants"] else []
        for option, key in (("--tokens", "tokens"), ("--frames", "frames"), ("--size", "image_size")):
            asked[option] += [str(c[key])] if key in c else []
    parts += [f"{option} {value}" for option, values in asked.items() for value in dict.fromkeys(values)]
    return " ".join([*parts, f"--backend {setting.backend}", f"--device {setting.kind}"])
