"""Tables of memory: what is stored and resident by component, and the peak against the number of frames."""

from __future__ import annotations

from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.latency.cells import Entry, megabytes
from fgq_bench.reporting.latency.selection import Setting, comparison, grouped, of_subjects, variants_of
from fgq_bench.reporting.tables import MISSING, Cell, Table
from fgq_bench.results import Result

MEASURED = ("aggregator", "model")  # subjects whose memory is measured
Curve = dict[int, Entry]  # frames -> metrics of one variant


def curves(results: list[Result]) -> dict[str, Curve]:
    """By variant, the entries with a measured peak, by frames; ``results`` are of one subject and run."""
    found: dict[str, Curve] = {}
    for result in results:
        for name, entry in variants_of(result).items():
            if "peak_bytes" in entry:
                found.setdefault(name, {})[result.conditions["frames"]] = entry
    return found


def memory_runs(results: list[Result]) -> dict[str, list[Result]]:
    """Results whose memory is drawn against frames, by a label; only where two numbers of frames are stored."""
    runs: dict[str, list[Result]] = {}
    for run in grouped(of_subjects(results, *MEASURED), lambda r: (_where(r), comparison(r))).items():
        (label, _), group = run
        frames = {count for curve in curves(group).values() for count in curve}
        if len(frames) > 1:
            runs[label if label not in runs else f"{label} ({len(runs) + 1})"] = group
    return runs


def _where(result: Result) -> str:
    c = result.conditions
    return f"{c['subject']}, {c['image_size']} px, scope {c['variants']['scope']}"


def memory_tables(setting: Setting, results: list[Result]) -> list[Table]:
    """Bytes by component of every variant, then peaks against frames where at least two are stored."""
    tables = []
    for number, run in enumerate(grouped(of_subjects(results, *MEASURED), comparison).values(), 1):
        if rows := _component_rows(run):
            tables.append(_component_table(setting, rows, number))
    for number, (label, run) in enumerate(memory_runs(results).items(), 1):
        tables.append(_frames_table(setting, label, run, number))
    return tables


def _component_rows(run: list[Result]) -> dict[str, Entry]:
    """Entries with sizes, by variant; those of the last result of a run, as they do not depend on the frames."""
    return {
        name: entry
        for result in run
        for name, entry in variants_of(result).items()
        if "resident_bytes" in entry or "stored_bytes" in entry
    }


def _component_table(setting: Setting, entries: dict[str, Entry], number: int) -> Table:
    totals = ("total", "total_bf16")
    parts = list(dict.fromkeys(p for e in entries.values() for p in e.get("stored_bytes", {}) if p not in totals))
    held = list(dict.fromkeys(part for e in entries.values() for part in e.get("resident_bytes", {})))
    rows = []
    for name, entry in entries.items():
        stored, resident = entry.get("stored_bytes", {}), entry.get("resident_bytes", {})
        rows.append([
            Cell(name), Cell(entry.get("scheme", MISSING)), *(Cell(megabytes(stored.get(part))) for part in (*parts, *totals)),
            *(Cell(megabytes(resident.get(part))) for part in held),
        ])  # fmt: skip
    heads = [
        "Variant", "Scheme", *(f"stored {part}" for part in parts), "stored total", "the same in bf16",
        *(f"resident {part}" for part in held),
    ]  # fmt: skip
    caption = (
        f"{setting.model} on {setting.machine}; MB (10^6 bytes). Stored: the artefact, packed codes and bf16 for what is not "
        "quantized by component, fp32 scales, transforms. Resident: parameters and buffers of the deployed model; its "
        "heads are fp32, and a kernel may keep codes wider than they are stored."
    )
    return Table(
        f"latency-components-{setting.slug}-{number}", f"Stored and resident memory: {setting.model}, {setting.machine}",
        caption, heads, rows,
    )  # fmt: skip


def _frames_table(setting: Setting, label: str, run: list[Result], number: int) -> Table:
    found = curves(run)
    counts = sorted({count for curve in found.values() for count in curve})
    rows = []
    for name, curve in found.items():
        cells = [Cell(_peak(curve.get(count), found.get(BASELINE, {}).get(count))) for count in counts]
        rows.append([Cell(name), Cell("allocated / reserved"), *cells])
    caption = (
        f"{setting.model}, {label}, on {setting.machine}. Peak MB (10^6 bytes) of one call by number of frames, allocated / "
        "reserved as in the table of networks, and the ratio of allocated to bf16."
    )
    heads = ["Variant", "Peak MB", *(f"{count} frames" for count in counts)]
    return Table(
        f"latency-memory-{setting.slug}-{number}", f"Memory against frames: {setting.model}, {label}, {setting.machine}", caption,
        heads, rows,
    )  # fmt: skip


def _peak(entry: Entry | None, baseline: Entry | None) -> str:
    if entry is None:
        return MISSING
    peak = entry["peak_bytes"]
    text = f"{megabytes(peak['allocated'])} / {megabytes(peak.get('reserved'))}"
    if baseline is None or entry is baseline or not baseline["peak_bytes"]["allocated"]:
        return text
    return f"{text} ({peak['allocated'] / baseline['peak_bytes']['allocated']:.2f}x)"
