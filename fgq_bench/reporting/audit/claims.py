"""What the papers' words say, computed again from their tables; and cells that ought to print one number.

The sentences are not in the CSVs; each is quoted here with its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from fgq_bench.reporting.audit.finding import Finding, Severity, group, metric_title, shown
from fgq_bench.reporting.published import Published, PublishedCell

Operation = Callable[[float, float], float]


def difference(a: float, b: float) -> float:
    """How much more a is than b."""
    return a - b


def kept(a: float, b: float) -> float:
    """Per cent of b that a keeps."""
    return 100 * a / b


def cut(a: float, b: float) -> float:
    """Per cent by which a is below b."""
    return 100 * (1 - a / b)


def above(a: float, b: float) -> float:
    """Per cent by which a is above b."""
    return 100 * (a / b - 1)


@dataclass(frozen=True)
class Ref:
    """Where a number is printed; ``word`` is the last of its aggregation where a table has two."""

    table: str
    row: str  # "METHOD BITS"
    dataset: str
    metric: str
    word: str = ""

    def find(self, published: Published, paper: str) -> PublishedCell | None:
        """The cell, None where the paper's table is not there."""
        for cell in published.of(paper):
            printed = cell.printed
            where = (printed.table, f"{printed.method} {printed.bits}", printed.dataset, printed.metric)
            if where == (self.table, self.row, self.dataset, self.metric) and printed.aggregation.endswith(self.word):
                return cell
        return None


@dataclass(frozen=True)
class Claim:
    """A number of the text, between ``low`` and ``high`` given its rounding, and the cells that it follows from."""

    paper: str
    says: str
    low: float
    high: float
    unit: str
    operation: Operation
    cells: tuple[Ref, Ref]
    elsewhere: tuple[tuple[Ref, Ref], ...] = ()  # where the same sentence would be as much to the point


_T13 = "QuantVGGT W4A4", "CO3Dv2"
_BRECQ = "Naive PTQ (BRECQ pipeline) W4A4"
_CO10, _CO20 = "CO3Dv2 (10 frames)", "CO3Dv2 (20 frames)"
_SEVEN, _DTU, _ETH = ("Table 2", "7-Scenes (sparse)"), ("Table 3", "DTU"), ("Table 2", "ETH3D")


def _kept(dataset: str, metric: str) -> tuple[Ref, Ref]:
    return (
        Ref("Table 1", "QuantVGGT W4A4", dataset, metric),
        Ref("Table 1", "Full Prec. W16A16", dataset, metric),
    )


def _collapse(row: str, place: tuple[str, str]) -> tuple[Ref, Ref]:
    table, dataset = place
    return Ref(table, row, dataset, "Acc", "mean"), Ref(table, "FP16 W16A16", dataset, "Acc", "mean")


def _completeness(rival: str) -> tuple[Ref, Ref]:
    return (
        Ref("Table 2", "FGQ W4A4", _SEVEN[1], "Comp", "median"),
        Ref("Table 2", f"{rival} W4A4", _SEVEN[1], "Comp", "median"),
    )


CLAIMS = (
    Claim(
        "quantvggt", "Table 13: AUC@30 gains +9.6 over naive PTQ", 9.55, 9.65, "AUC points", difference,
        (Ref("Table 13", *_T13, "AUC@30"), Ref("Table 13", _BRECQ, "CO3Dv2", "AUC@30")),
    ),
    Claim(
        "quantvggt", "Table 13: AUC@15 gains +14.9 over naive PTQ", 14.85, 14.95, "AUC points", difference,
        (Ref("Table 13", *_T13, "AUC@15"), Ref("Table 13", _BRECQ, "CO3Dv2", "AUC@15")),
    ),
    Claim(
        "quantvggt", "text on Table 13: +0.02 GB over naive PTQ", 0.015, 0.025, "GB", difference,
        (
            Ref("Table 13", "QuantVGGT W4A4", "calibration", "calib_gpu_memory_GB"),
            Ref("Table 13", _BRECQ, "calibration", "calib_gpu_memory_GB"),
        ),
    ),
    Claim(
        "quantvggt", "text on Table 13: +0.1 h over naive PTQ", 0.05, 0.15, "h", difference,
        (
            Ref("Table 13", "QuantVGGT W4A4", "calibration", "calib_gpu_hours"),
            Ref("Table 13", _BRECQ, "calibration", "calib_gpu_hours"),
        ),
    ),
    Claim(
        "quantvggt", "abstract: 4 bits keep 98 % of the accuracy", 97.5, 98.5, "%", kept, _kept(_CO20, "AUC@30"),
        (_kept(_CO10, "AUC@30"), _kept(_CO10, "AUC@15"), _kept(_CO10, "AUC@5"), _kept(_CO10, "AUC@3"), _kept(_CO20, "AUC@3")),
    ),
    Claim(
        "fgq", "abstract: up to 39 % better", 38.5, 39.5, "%", cut, _completeness("QuantVGGT"), (_completeness("FlatQuant"),),
    ),
    Claim(
        "fgq", "Figure 2: quantized point maps collapse by 200 to 500 %", 150, 550, "%", above, _collapse("RTN W4A4", _SEVEN),
        (
            _collapse("RTN W4A4", _ETH), _collapse("RTN W4A4", _DTU), _collapse("FlatQuant W4A4", _SEVEN),
            _collapse("FlatQuant W4A4", _ETH), _collapse("FlatQuant W4A4", _DTU),
        ),
    ),
)  # fmt: skip


def check_claims(published: Published) -> list[Finding]:
    """Sentences that the tables do not give, or give in one place only."""
    findings = []
    for claim in CLAIMS:
        cells = _pair(published, claim.paper, claim.cells)
        if cells is None:
            continue
        low, high = _span(claim.operation, cells)
        off = max(claim.low - high, low - claim.high)
        found = _text(claim, cells)
        others = [pair for refs in claim.elsewhere if (pair := _pair(published, claim.paper, refs))]
        if off > 1e-9 or others:
            more = "; elsewhere " + "; ".join(_text(claim, pair) for pair in others) if others else ""
            findings.append(
                Finding(
                    "claims", "inconsistent" if off > 1e-9 else "suspicious", claim.paper, cells[0].table,
                    tuple(dict.fromkeys(cell.printed.method for cell in cells)), claim.says, found + more, off if off > 1e-9 else None, claim.unit if off > 1e-9 else "",
                )
            )  # fmt: skip
    return findings


def _pair(published: Published, paper: str, refs: tuple[Ref, Ref]) -> tuple[PublishedCell, PublishedCell] | None:
    first, second = (ref.find(published, paper) for ref in refs)
    return (first, second) if first and second else None


def _ends(cell: PublishedCell) -> tuple[float, float]:
    """Smallest and largest printed-unit value that rounds to the cell's."""
    half = 0.5 * 10.0 ** -len(cell.printed.value.partition(".")[2])
    return float(cell.printed.value) - half, float(cell.printed.value) + half


def _span(operation: Operation, cells: tuple[PublishedCell, PublishedCell]) -> tuple[float, float]:
    values = [operation(a, b) for a, b in product(_ends(cells[0]), _ends(cells[1]))]
    return min(values), max(values)


def _text(claim: Claim, cells: tuple[PublishedCell, PublishedCell]) -> str:
    a, b = cells[0].printed, cells[1].printed
    return (
        f"{a.method} against {b.method}, {a.dataset} {metric_title(cells[0])}: {a.value} and {b.value}, "
        f"{claim.operation(float(a.value), float(b.value)):.3g} {claim.unit}"
    )


@dataclass(frozen=True)
class Same:
    """Two cells that ought to agree, the first times ``factor``."""

    paper: str
    one: Ref
    other: Ref
    because: str
    severity: Severity
    factor: float = 1.0


def _arms(arm: str, baseline: str) -> list[Same]:
    reason = "an ablation arm equals the baseline that it amounts to, unless arms learn clipping and baselines do not"
    return [
        Same("quantvggt", Ref("Table 4", arm, _CO10, metric), Ref("Table 1", baseline, _CO10, metric), reason, "suspicious")
        for metric in ("AUC@30", "AUC@3")
    ]  # fmt: skip


SAME = (
    *_arms("Rotation only W4A4", "QuaRot W4A4"), *_arms("Scale only W4A4", "SmoothQuant W4A4"),
    *_arms("Base (no smoothing) W4A4", "RTN W4A4"),
    *(
        Same(
            "quantvggt", Ref("Table 12", "NFDS calib (20 samples) W4A4", "CO3Dv2 (calib pool: first-frame cos<0.1)", metric),
            Ref("Table 11", "QuantVGGT N=20 W4A4", "CO3Dv2 (10 frames, first 200 seq/class presumed)", metric),
            "one number for 20 samples of NFDS", "inconsistent",
        )
        for metric in ("AUC@30", "AUC@3")
    ),
    Same(
        "quantvggt", Ref("Table 12", "Random calib (20 samples) W4A4", "CO3Dv2 (calib pool: first-frame cos<0.1)", "AUC@3"),
        Ref("Table 11", "QuantVGGT N=20 W4A4", "CO3Dv2 (10 frames, first 200 seq/class presumed)", "AUC@3"),
        "20 random samples, as the paper says, are worse than 20 of NFDS", "suspicious",
    ),
    Same(
        "quantvggt", Ref("Table 8", "dynamic token-wise act W4A4", _CO10, "latency_speedup_x"),
        Ref("Table 15", "QuantVGGT W4A4", "RTX4090 10 frames", "latency_speedup_x"),
        "one speed-up at 10 frames (if Table 8 times what it scores)", "suspicious",
    ),
    Same(
        "qvggt", Ref("Table 3", "Q naive all blocks W4A16", "NRGBD", "Acc", "mean"), Ref("Table 2", "AWQ W4A16", "NRGBD", "Acc", "mean"),
        "one row: both have the same AUC@30 (54.57 and 54.6)", "suspicious",
    ),
    Same(
        "qvggt", Ref("Table A2", "w/o CIC W4A16", "NRGBD", "Acc", "mean"), Ref("Table 3", "S+D token filter + CIC W4A16", "NRGBD", "Acc", "mean"),
        "0.054 without CIC, as the text says (in Table 3 it is the number of S+D, with CIC)", "inconsistent",
    ),
    *(
        Same(
            "fgq", Ref("AppendixC", row, "calibration(CO3Dv2)", "calib_GPU_time_min"),
            Ref("Table 6", row, "calibration (A100 40GB)", "calib_gpu_hours"), "minutes and hours of one run agree", "inconsistent", 1 / 60,
        )
        for row in ("FlatQuant W4A4", "FGQ W4A4")
    ),
)  # fmt: skip


def check_same(published: Published) -> list[Finding]:
    """Cells that ought to agree and do not, beyond rounding."""
    apart = []
    for same in SAME:
        cells = _pair(published, same.paper, (same.one, same.other))
        if cells and (off := _apart(same, cells)) > 1e-9:
            apart.append((same, cells, off))
    findings = []
    for found in group(
        apart, lambda each: (each[0].one.table, each[0].one.row, each[0].other.row, each[0].because)
    ).values():
        same, (one, other), _ = found[0]
        findings.append(
            Finding(
                "same quantity", same.severity, same.paper, f"{one.table}, {other.table}",
                tuple(dict.fromkeys((same.one.row, same.other.row))), same.because,
                "; ".join(f"{each.other.metric} {_scaled(each, pair[0])}, {shown(pair[1])}" for each, pair, _ in found),
                max(off for _, _, off in found), other.printed.unit,
            )
        )  # fmt: skip
    return findings


def _apart(same: Same, cells: tuple[PublishedCell, PublishedCell]) -> float:
    """Distance of the two rounding intervals, negative where they overlap."""
    (low, high), (bottom, top) = (same.factor * end for end in _ends(cells[0])), _ends(cells[1])
    return max(low - top, bottom - high)


def _scaled(same: Same, cell: PublishedCell) -> str:
    if same.factor == 1:
        return shown(cell)
    return f"{shown(cell)} {cell.printed.unit} = {same.factor * float(cell.printed.value):.4g}"
