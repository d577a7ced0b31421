"""Tables of single linears: speed-ups by rows, role and scheme; and what online transforms and extras cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fgq_bench.latency.producers import FLOAT
from fgq_bench.latency.variants import BASELINE
from fgq_bench.reporting.latency.cells import (
    INTEGERS,
    METHOD,
    command,
    milliseconds,
    number,
    peaks_text,
    percent,
    speedup,
    times,
)
from fgq_bench.reporting.latency.layer_means import BARE, block_speedup, block_time, schemes_of
from fgq_bench.reporting.latency.selection import Setting, comparison, errors, grouped, of_subjects
from fgq_bench.reporting.tables import MISSING, Cell, Table
from fgq_bench.results import Result

SUMS = " sums only"
TRANSFORMS = (" + Hadamard", " + Kronecker")
LIBRARY = "torch._int_mm"


@dataclass(frozen=True)
class LayerColumn:
    """A column of ``variant``: ``show`` renders one linear, ``mean`` the four of a block at one number of rows."""

    head: str
    variant: str
    show: Callable[[Result, str], str]
    mean: Callable[[list[Result], str], str] = lambda results, variant: ""

    def text(self, result: Result) -> str:
        """The cell of one linear."""
        return self.show(result, self.variant)


def layer_tables(setting: Setting, results: list[Result]) -> list[Table]:
    """Both tables for every list of schemes that was compared; empty without results of layers."""
    tables = []
    for run in grouped(of_subjects(results, "layers"), comparison).values():
        schemes = schemes_of(run)
        what = f"{setting.model} linears, {setting.machine}; baseline bf16 F.linear"
        about = f"{what}. Made by `{command(setting, run)}`. {METHOD}"
        name = f"latency-layers-{setting.slug}-{'-'.join(schemes)}"
        main = [column for column in _main_columns(schemes, run) if _is_used(column, run)]
        rest = [column for column in _cost_columns(schemes, run) if _is_used(column, run)]
        tables.append(_table(name, f"Layers: {what}", about + _main_notes(setting, run), main, run))
        if rest:
            title = f"Online transforms and extras: {what}"
            tables.append(_table(f"{name}-costs", title, about + _COST_NOTES + errors(run), rest, run))
    return tables


def _is_used(column: LayerColumn, results: list[Result]) -> bool:
    return any(column.text(result) != MISSING for result in results)


def _table(name: str, title: str, caption: str, columns: list[LayerColumn], results: list[Result]) -> Table:
    rows = []
    for tokens, group in grouped(results, lambda result: int(result.conditions["tokens"])).items():
        for result in group:
            c = result.conditions
            layer = f"{c['role']} {c['in']} x {c['out']}"
            rows.append([Cell(str(tokens)), Cell(layer), *(Cell(column.text(result)) for column in columns)])
        means = [column.mean(group, column.variant) for column in columns]
        rows.append([Cell(str(tokens)), Cell("weighted mean"), *map(Cell, means)])
    return Table(name, title, caption, ["Rows M", "Layer (in x out)", *(column.head for column in columns)], rows)


def _mean_time(results: list[Result], variant: str) -> str:
    seconds = block_time(results, variant)
    return MISSING if seconds is None else f"{number(1e3 * seconds)} (sum)"


def _mean_speedup(results: list[Result], variant: str) -> str:
    mean = block_speedup(results, variant)
    return MISSING if mean is None else times(mean.value, mean.low, mean.high)


def _time(result: Result, variant: str) -> str:
    return milliseconds(result.metrics.get(variant), interval=True)


def _speedup(result: Result, variant: str) -> str:
    return speedup(result.metrics.get(variant))


def _eager(result: Result, variant: str) -> str:
    return speedup(result.metrics.get(variant, {}).get("eager"))


def _roofline(result: Result, variant: str) -> str:
    return percent(result.metrics.get(variant, {}).get("roofline"))


def _online(result: Result, variant: str) -> str:
    """Speed-up, and the ms that the transform adds to its scheme."""
    plain, entry = result.metrics.get(variant.split(" + ")[0], {}), result.metrics.get(variant, {})
    if "value" not in plain or "value" not in entry:
        return _speedup(result, variant)
    added = 1e3 * (entry["value"] - plain["value"])
    return f"{_speedup(result, variant)} {'+' if added >= 0 else '-'}{number(abs(added))} ms"


def _main_columns(schemes: list[str], results: list[Result]) -> list[LayerColumn]:
    columns = [LayerColumn("bf16 ms", BASELINE, _time, _mean_time), LayerColumn("bf16 roofline", BASELINE, _roofline)]
    for scheme in schemes:
        whole = f"{scheme} with quantiser" if any(scheme + BARE in result.metrics for result in results) else scheme
        columns += [
            LayerColumn(whole, scheme, _speedup, _mean_speedup),
            LayerColumn(f"{whole}, eager", scheme, _eager),
            LayerColumn(f"{scheme} without quantiser", scheme + BARE, _speedup, _mean_speedup),
            LayerColumn(f"{scheme} sums only", scheme + SUMS, _speedup, _mean_speedup),
            LayerColumn(f"{scheme} roofline", scheme, _roofline),
        ]
    columns.append(LayerColumn("library int8 (torch._int_mm)", LIBRARY, _speedup, _mean_speedup))
    return [*columns, LayerColumn("library int8 roofline", LIBRARY, _roofline)]


def _cost_columns(schemes: list[str], results: list[Result]) -> list[LayerColumn]:
    """Every variant that the first table does not show."""
    shown = {BASELINE, LIBRARY, *(scheme + suffix for scheme in schemes for suffix in ("", BARE, SUMS))}
    names = dict.fromkeys(name for result in results for name in result.metrics if name not in shown)
    online = [f"{scheme}{suffix}" for scheme in schemes for suffix in TRANSFORMS if f"{scheme}{suffix}" in names]
    return [
        *(LayerColumn(name, name, _online, _mean_speedup) for name in online),
        *(LayerColumn(f"{name} ms", name, _time, _mean_time) for name in names if name == FLOAT),
        *(LayerColumn(name, name, _speedup, _mean_speedup) for name in names if name not in (*online, FLOAT)),
    ]


def _main_notes(setting: Setting, results: list[Result]) -> str:
    graphs = " CUDA graphs are replayed; 'eager' columns launch from Python, against eager bf16." * (
        setting.kind == "cuda"
    )
    return (
        f"{graphs} 'With quantiser': 16-bit input to 16-bit output (a scheme with 16-bit inputs has none); 'without': from codes, with epilogue; 'sums only': "
        "the integer product alone. Roofline: share of the rate that the measured peaks allow for this shape "
        f"({peaks_text(results)}); above 100 %, caches served traffic or the peak was measured too low. Weighted mean: "
        "bf16 time over variant time, each summed over qkv, proj, fc1 and fc2 (so weighted by the work in them); nothing "
        f"else of a block counts. Weights are random. {INTEGERS}{errors(results)}"
    )


_COST_NOTES = (
    " '+ Hadamard' and '+ Kronecker': with quantiser and that transform computed online on every input, with the ms "
    "that it adds to the scheme without it. '+ producer': the LayerNorm (qkv, fc1) or GELU (fc2) before the linear is "
    "timed with it, fused with the quantiser in a quantized arm and compiled in bf16; speed-ups are over 'bf16 + producer'. "
    "'fp8': torch._scaled_mm with a scale per row (e4m3). 'Extra': no competitors; emulated is simulated quantization (float "
    "arithmetic), as released codes run it; fp32 is what some papers take for the baseline. Weighted mean: as above."
)
