"""The latency report: from small synthetic results to tables and figures; failed and missing ones are said to be so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import scored, scored_conditions

from fgq_bench.cards import content_root
from fgq_bench.commands.reports import render
from fgq_bench.errors import UserError
from fgq_bench.files import is_file_name
from fgq_bench.reporting.formats import plain_name
from fgq_bench.reporting.latency.accuracy import read_scatters
from fgq_bench.reporting.latency.breakdown_tables import bound, free_bound
from fgq_bench.reporting.latency.cells import number
from fgq_bench.reporting.latency.layer_means import block_speedup, measured_rate
from fgq_bench.reporting.latency.layer_tables import layer_tables
from fgq_bench.reporting.latency.memory_tables import memory_runs
from fgq_bench.reporting.latency.report import latency_tables, write_latency_report
from fgq_bench.reporting.latency.selection import Setting, read_latency
from fgq_bench.reporting.tables import FAILED, MISSING, Table
from fgq_bench.results import Result, Store, content_key

Metrics = dict[str, dict[str, Any]]
CPU = {"name": "Test CPU", "type": "cpu", "threads": 2}
GPU = {"name": "Test GPU 80GB", "type": "cuda", "threads": 16}
WIDTHS = {"qkv": (64, 192), "proj": (64, 64), "fc1": (64, 256), "fc2": (256, 64)}
WORK = {"qkv": 3, "proj": 1, "fc1": 4, "fc2": 4}
SIZES = {"aa": 1_000_000, "dino": 500_000, "camera": 0, "heads": 250_000, "scales": 250_000, "transforms": 0}
RTN = {"name": "rtn", "algorithm": 1, "options": {}}
MODEL = {"name": "vggt-tiny", "hash": "random weights, seed 0"}


def timed(seconds: float, faster: float = 1.0) -> dict[str, Any]:
    """A variant's entry: eleven rounds around ``seconds / faster``."""
    median = seconds / faster
    rounds = median * np.linspace(0.95, 1.05, 11)
    samples = np.random.default_rng(round(1e4 * median)).permutation(rounds).tolist()
    speedup = {"value": faster, "ci_low": 0.9 * faster, "ci_high": 1.1 * faster, "over": "bf16"}
    return {
        "value": median,
        "p20": rounds[2],
        "p80": rounds[8],
        "samples": samples,
        "speedup": speedup,
        "unit": "s",
        "aggregation": "median of rounds",
    }


def put(
    store: Store, device: dict[str, Any], about: dict[str, Any], variants: dict[str, Any], metrics: Metrics
) -> None:
    conditions = {"model": MODEL, "device": device, "torch": "2.9", "algorithm": 1, "variants": variants, **about}
    peaks = {"bf16_flops": 1e12, "int8_ops": 2e12, "bandwidth": 1e11}
    result = Result("latency", content_key(conditions), conditions, "ok", metrics=metrics, execution={"peaks": peaks})
    store.put(result, {})


def put_layers(store: Store, device: dict[str, Any], tokens: int, roles: tuple[str, ...] = tuple(WIDTHS)) -> None:
    for role in roles:
        base = 1e-3 * WORK[role]
        rates = {
            "bf16": 1.0, "w4a4": 2.0, "w4a4 without quantiser": 3.0, "w4a4 sums only": 4.0, "w4a4 + Hadamard": 1.0,
            "torch._int_mm": 3.5, "fp32 (extra)": 0.25, "w4a4 emulated (extra)": 0.2,
        }  # fmt: skip
        metrics = {name: {**timed(base, rate), "roofline": 0.5} for name, rate in rates.items()}
        if device["type"] == "cuda":
            metrics["w4a4"]["eager"] = timed(2 * base, 1.25)
        width, out = WIDTHS[role]
        about = {
            "subject": "layers",
            "case": f"{role}-m{tokens}",
            "role": role,
            "tokens": tokens,
            "in": width,
            "out": out,
        }
        put(store, device, about, {"schemes": ["w4a4"], "backend": device["type"]}, metrics)


def put_network(store: Store, device: dict[str, Any], subject: str, frames: int, broken: str | None = None) -> None:
    """bf16 and two methods at w4a4; linears take half of bf16's time."""
    metrics: Metrics = {"bf16": timed(0.1 * frames)}
    for name in ("rtn", "quarot"):
        metrics[f"{name} w4a4"] = timed(0.1 * frames, 1.25) | {
            "method": name, "scheme": "w4a4", "stored_bytes": {**SIZES, "total": 2_000_000, "total_bf16": 8_000_000},
            "execution": {
                "backend": device["type"], "integer": {"layers": 0.75, "bytes": 0.75, "flops": 0.9}, "kernels": {"cpu-int8": 9, "reference": 3},
                "refusals": {"cpu-int8: outputs are not a multiple of 16": 3},
                "quantisers": {"fused": 0, "separate": 9},
            },
        }  # fmt: skip
    for entry in metrics.values():
        linears = 0.05 * frames / (1.0 if entry is metrics["bf16"] else 2.0)
        entry["breakdown"] = {"linears": linears, "attention": 0.04 * frames, "other": 0.01 * frames}
        if subject != "blocks":
            entry["peak_bytes"] = {"allocated": 3_000_000 * frames, "reserved": 9_000_000 * frames}
            entry["resident_bytes"] = {"aa": 4_000_000, "heads": 1_000_000}
        if device["type"] == "cuda":
            entry["eager"] = timed(0.3 * frames, entry["speedup"]["value"])
    if broken:
        metrics[broken] = {"error": "OutOfMemoryError: CUDA out of memory.\nTried | to allocate", "method": "quarot"}
    compiled = [
        {"model": MODEL, "method": {**RTN, "name": name}, "preset": None, "calibration": None, "scheme": "w4a4", "scope": "aa", "seed": 0}
        for name in ("rtn", "quarot")
    ]  # fmt: skip
    about = {"subject": subject, "case": f"{frames}x84", "frames": frames, "image_size": 84}
    if subject == "blocks":
        about |= {"block": "global", "case": f"global-{frames}x84"}
    put(store, device, about, {"variants": compiled, "scope": "aa", "backend": device["type"]}, metrics)


def put_accuracy(store: Store, method: str, degrees: float, seed: int = 0, scope: str = "aa") -> None:
    about: dict[str, Any] = {"model": {"name": "vggt-tiny", "hash": "real"}, "method": {**RTN, "name": method}}
    conditions = scored_conditions("agreement", **about, scope=scope, seed=seed)
    store.put(scored(conditions, [{"rotation": degrees + 0.1 * i - 0.2} for i in range(5)]), {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A CPU with everything, at 148 rows without fc2; a GPU with a variant that failed."""
    store = Store(tmp_path / "results")
    put_layers(store, CPU, 37)
    put_layers(store, CPU, 148, ("qkv", "proj", "fc1"))
    for frames in (1, 2):
        put_network(store, CPU, "aggregator", frames)
    put_network(store, CPU, "blocks", 1)
    put_layers(store, GPU, 37)
    put_network(store, GPU, "model", 10, "quarot w4a4")
    for seed in (0, 1):
        put_accuracy(store, "rtn", 4.0 + seed, seed)
    put_accuracy(store, "quarot", 2.0)
    put_accuracy(store, "quarot", 0.5, scope="all")  # another artefact
    return store


def find(tables: list[Table], title: str, machine: str = "Test CPU") -> Table:
    return next(table for table in tables if table.title.startswith(title) and machine in table.title)


def texts(table: Table, row: int) -> dict[str, str]:
    return dict(zip(table.heads, (cell.text for cell in table.rows[row]), strict=True))


def test_layers_have_a_row_each_and_a_mean(store: Store) -> None:
    table = find(latency_tables(store), "Layers")
    assert [row[1].text for row in table.rows[:5]] == [
        "qkv 64 x 192", "proj 64 x 64", "fc1 64 x 256", "fc2 256 x 64", "weighted mean"
    ]  # fmt: skip
    first, mean = texts(table, 0), texts(table, 4)
    assert first["bf16 ms"] == "3.00 [2.91, 3.09]"
    assert first["w4a4 with quantiser"] == "2.00x [1.80, 2.20]"
    assert (first["w4a4 roofline"], mean["w4a4 roofline"]) == ("50 %", "")
    assert mean["bf16 ms"] == "12.0 (sum)"
    assert mean["w4a4 without quantiser"].startswith("3.00x [")
    assert "eager" not in " ".join(table.heads)
    assert texts(table, 8)["w4a4 with quantiser"] == MISSING, "fc2 is not stored at 148 rows"
    assert "-b w4a4 --tokens 37 --tokens 148 --backend cpu --device cpu`" in table.caption


def test_online_transforms_and_extras_have_their_own_table(store: Store) -> None:
    row = texts(find(latency_tables(store), "Online transforms"), 0)
    assert row["w4a4 + Hadamard"] == "1.00x [0.90, 1.10] +1.50 ms"
    assert list(row)[3:] == ["fp32 (extra)", "w4a4 emulated (extra)"]


def test_eager_columns_where_graphs_were_replayed(store: Store) -> None:
    tables = latency_tables(store)
    assert texts(find(tables, "Layers", "Test GPU"), 0)["w4a4 with quantiser, eager"] == "1.25x [1.12, 1.38]"
    networks = find(tables, "Networks", "Test GPU")
    assert texts(networks, 0)["eager ms [p20, p80]"].startswith("3000 [")
    assert "eager speed-up" not in find(tables, "Networks").heads


def test_a_failed_variant_is_named(store: Store) -> None:
    table = find(latency_tables(store), "Networks", "Test GPU")
    row = texts(table, 2)
    assert (row["Variant"], row["ms [p20, p80]"], row["speed-up"], row["vs bf16"]) == (
        "quarot w4a4",
        FAILED,
        FAILED,
        MISSING,
    )
    assert "Failed: 10x84, quarot w4a4: OutOfMemoryError: CUDA out of memory. Tried | to allocate." in table.caption


def test_networks_say_what_ran_as_integers(store: Store) -> None:
    table = find(latency_tables(store), "Networks")
    row = texts(table, 4)
    assert (row["Case"], row["Variant"]) == ("aggregator, 1 x 84 px", "rtn w4a4")
    assert (row["integer FLOPs"], row["kernels"]) == ("90 %", "cpu-int8 9, reference 3")
    assert (row["peak MB allocated"], row["vs bf16"], row["resident MB"]) == ("3.00", "4.00x", "5.00")
    assert "rtn w4a4 3 linears: cpu-int8: outputs are not a multiple of 16 (3)" in table.caption


def test_bounds_follow_amdahl(store: Store) -> None:
    results = read_latency(store)
    cpu = [result for result in results if result.conditions["device"] == CPU]
    network = next(result for result in cpu if result.conditions["subject"] == "aggregator")
    limit = bound(network, "w4a4", cpu)
    assert limit is not None and limit.at_rate is not None
    assert limit.free == free_bound(network) == pytest.approx(2.0)
    assert limit.rate == pytest.approx(3.0)
    assert limit.rows == 37
    assert limit.at_rate == pytest.approx(1 / (0.5 / 3 + 0.5))
    assert measured_rate(cpu, "w4a4", 148) is None, "the nearest complete block has a quarter of the rows"
    row = texts(find(latency_tables(store), "What faster linears"), 0)
    assert (row["linears free"], row["measured"]) == ("2.00x", "1.25x [1.12, 1.38]")


def test_a_mean_needs_all_four_linears(store: Store) -> None:
    layers = [r for r in read_latency(store) if r.conditions.get("tokens") == 37 and r.conditions["device"] == CPU]
    mean = block_speedup(layers, "w4a4")
    assert mean is not None and mean.low < mean.value == pytest.approx(2.0) and mean.high > mean.value
    assert block_speedup(layers[:3], "w4a4") is None
    assert block_speedup(layers, "w3a3") is None


def test_memory_against_frames_needs_two(store: Store) -> None:
    results = read_latency(store)
    assert list(memory_runs(results)) == ["aggregator, 84 px, scope aa"]
    row = texts(find(latency_tables(store), "Memory against frames"), 1)
    assert (row["1 frames"], row["2 frames"]) == ("3.00 / 9.00 (1.00x)", "6.00 / 18.0 (1.00x)")
    assert memory_runs([r for r in results if r.conditions.get("frames") != 2]) == {}


def test_pairs_are_of_the_same_artefact(store: Store) -> None:
    (scatter,) = read_scatters(store, [r for r in read_latency(store) if r.conditions["device"] == CPU])
    assert [(pair.variant, pair.error.value) for pair in scatter.pairs] == [
        ("bf16", 0.0), ("rtn w4a4", pytest.approx(4.5)), ("quarot w4a4", pytest.approx(2.0))
    ]  # fmt: skip
    assert len(scatter.pairs[1].used) == 2, "both seeds"
    assert [pair.variant for pair in scatter.front()] == ["quarot w4a4", "bf16"]
    assert read_scatters(store, [r for r in read_latency(store) if r.conditions["device"] == GPU]) == []


def test_every_format_and_figure_is_written(store: Store, tmp_path: Path) -> None:
    files, shown = write_latency_report(store, tmp_path / "report", "md,latex,csv")
    assert all(file.changed for file in files)
    assert len(shown) == len(read_latency(store)) + 3
    markdown = (tmp_path / "report" / "latency.md").read_text()
    assert markdown.startswith("# Latency\n")
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert r"\toprule" in (tmp_path / "report" / "latency.tex").read_text()
    assert (tmp_path / "report" / "latency.csv").read_text().startswith("# Layers: vggt-tiny linears, Test CPU")
    drawn = {path.stem.split("-vggt")[0] for path in (tmp_path / "report" / "figures").glob("*.png")}
    assert drawn == {
        "latency-memory", "latency-breakdown-global", "latency-breakdown-aggregator", "latency-breakdown-model",
        "latency-accuracy-rooms",
    }  # fmt: skip


def test_nothing_is_written_without_results(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert write_latency_report(Store(tmp_path / "results"), tmp_path / "report", "md") == ([], [])
    assert not (tmp_path / "report").exists()
    with pytest.raises(UserError, match="no result of latency is stored here"):
        render("latency", tmp_path / "results", None, "md", None, None, False)


def test_the_report_command_prints_writes_and_copies(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    render("latency", store.root, None, "md,latex,csv", None, None, False)
    assert capsys.readouterr().out.startswith("### Layers: vggt-tiny linears, Test CPU")
    render("latency", store.root, None, "md", None, None, True)
    assert "rows" in json.loads(capsys.readouterr().out)[0]
    render("latency", store.root, tmp_path / "report", "csv", None, None, False)
    copied = Store(tmp_path / "report" / "results")
    assert [table.rows for table in latency_tables(copied)] == [table.rows for table in latency_tables(store)]
    assert not (tmp_path / "report" / "latency.md").exists()


def test_schemes_that_were_not_compared_together_stay_apart(store: Store) -> None:
    results = [r for r in read_latency(store) if r.conditions["device"] == CPU]
    other = Result("latency", "k", {**results[0].conditions, "variants": {"schemes": ["w8a8"], "backend": "cpu"}}, "ok")
    assert (
        len([t for t in layer_tables(Setting.of(results[0]), [*results, other]) if t.title.startswith("Layers")]) == 2
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(12067.9, "12068"), (117.3, "117"), (94.0, "94.0"), (3.951, "3.95"), (0.06643, "0.0664"), (0, "0")],
)
def test_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_committed_results_hold_no_latency_by_accident() -> None:
    results = read_latency(Store(content_root() / "reports" / "latest" / "results"))
    assert all(result.kind == "latency" for result in results)


def test_a_foreign_machines_name_is_text_in_every_format(store: Store, tmp_path: Path) -> None:
    name = "=1+cmd|' /C calc'!A0\n=HYPERLINK(1)\n# <script>\x1b[2J"
    put_layers(store, {**CPU, "name": name}, 64)
    write_latency_report(store, tmp_path / "report", "md,csv")
    texts = [(tmp_path / "report" / f"latency.{ending}").read_text() for ending in ("md", "csv")]
    for text in texts:
        assert "HYPERLINK" in text
        assert "\x1b" not in text
        assert not any(line.startswith(("=", "# <")) for line in text.splitlines())
    assert "<script>" not in texts[0].replace(r"\<script>", "")


@pytest.mark.parametrize("name", ["../../evil", "a/../b", "a\\b", "a\nb\0", "/etc/x"])
def test_a_figure_is_named_inside_its_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / plain_name(f"latency-breakdown-{name}")
    assert path.resolve().parent == tmp_path.resolve()
    assert is_file_name(path.name)
