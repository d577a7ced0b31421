"""Each check of the audit on rows that violate it and rows that do not, and the audit of the papers themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fgq_bench.cli import app
from fgq_bench.reporting.audit import (
    auc_algebra,
    claims,
    conditions,
    copies,
    error_algebra,
    precision,
    references,
    repeats,
    rivals,
)
from fgq_bench.reporting.audit.auc_algebra import accuracies, shortfall
from fgq_bench.reporting.audit.finding import Finding
from fgq_bench.reporting.audit.run import audit, to_json, to_markdown
from fgq_bench.reporting.published import PAPERS, Published, load_published
from fgq_bench.tasks.pose_metrics import auc

HEADS = "paper,table,model,method,bits,dataset,metric,aggregation,value,unit,direction"
THRESHOLDS = (3, 5, 15, 30)
MEAN, MEDIAN = "mean over scenes of per-scene mean", "mean over scenes of per-scene median"


class Paper:
    """Hand-made rows of one paper."""

    def __init__(self, folder: Path, name: str = "fgq") -> None:
        self.folder, self.lines = folder, {paper: [HEADS] for paper in PAPERS}
        self.name = name

    def add(
        self, method: str, dataset: str, metric: str, value: str, *, table: str = "Table 1", bits: str = "",
        aggregation: str = "dataset", unit: str = "fraction", direction: str = "higher", paper: str = "",
    ) -> None:  # fmt: skip
        bits = bits or ("W16A16" if method == "FP16" else "W4A4")
        line = f'P,{table},VGGT-1B,{method},{bits},"{dataset}",{metric},{aggregation},{value},{unit},{direction}'
        self.lines[paper or self.name].append(line)

    def aucs(self, method: str, *values: str, dataset: str = "CO3Dv2", table: str = "Table 1", bits: str = "") -> None:
        for threshold, value in zip((30, 15, 5, 3), values, strict=False):
            self.add(method, dataset, f"AUC@{threshold}", value, table=table, bits=bits)

    def distances(self, method: str, mean: str, median: str, metric: str = "Acc", dataset: str = "DTU") -> None:
        direction, unit = ("higher", "fraction") if metric == "NC" else ("lower", "m")
        for aggregation, value in ((MEAN, mean), (MEDIAN, median)):
            self.add(method, dataset, metric, value, aggregation=aggregation, unit=unit, direction=direction)

    def read(self) -> Published:
        for paper, lines in self.lines.items():
            (self.folder / f"{paper}.csv").write_text("\n".join(lines) + "\n")
        return load_published(self.folder)


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path)


@pytest.fixture(scope="module")
def published() -> Published:
    return load_published()


@pytest.fixture(scope="module")
def findings(published: Published) -> list[Finding]:
    return audit(published)


def exact(values: dict[int, float], half: float = 0.0) -> dict[int, tuple[float, float]]:
    return {threshold: (value - half, value + half) for threshold, value in values.items()}


# The algebra of AUCs


errors_in_degrees = st.lists(
    st.one_of(st.floats(0, 60), st.integers(0, 31).map(float), st.just(1e6)), min_size=1, max_size=40
)  # whole degrees fall on the edges of the bins


@settings(deadline=None, max_examples=200)
@given(errors_in_degrees, st.sampled_from([None, 1, 2, 3, 4]))
def test_aucs_of_any_errors_obey_the_algebra(errors: list[float], digits: int | None) -> None:
    array = np.array(errors)
    values = {t: auc(array, np.zeros_like(array), t) for t in THRESHOLDS}
    half = 1e-9 if digits is None else 0.5 * 10.0**-digits + 1e-12
    printed = values if digits is None else {t: round(value, digits) for t, value in values.items()}
    assert shortfall(exact(printed, half)) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(errors_in_degrees, min_size=2, max_size=5))
def test_means_over_categories_obey_the_algebra(categories: list[list[float]]) -> None:
    arrays = [np.array(errors) for errors in categories]
    values = {t: float(np.mean([auc(each, np.zeros_like(each), t) for each in arrays])) for t in THRESHOLDS}
    assert shortfall(exact(values, 1e-9)) == 0


@given(st.lists(st.integers(0, 100), min_size=4, max_size=4))
def test_every_rising_accuracy_is_attained(counts: list[int]) -> None:
    """The inequalities are all there are: any m(1) <= ... <= m(4) are the accuracies of some errors."""
    means = sorted(counts)
    edges, shares = [0, 3, 5, 15], np.diff([0, *means])
    errors = np.concatenate(
        [np.full(n, edge + 0.5) for edge, n in zip(edges, shares, strict=True)] + [np.full(100 - means[-1], 1e6)]
    )
    ranges = exact({t: auc(errors, np.zeros_like(errors), t) for t in THRESHOLDS})
    assert [low for low, _ in accuracies(ranges).values()] == pytest.approx([mean / 100 for mean in means])


@pytest.mark.parametrize(
    ("values", "off"),
    [
        ({15: 0.9, 30: 0.95}, 0.0),  # AUC@30 = (1 + AUC@15) / 2: every pair below 16 degrees
        ({15: 0.9, 30: 0.953}, 0.002),  # 2 AUC@30 - AUC@15 = 1 + 0.006, shared by 2 + 1
        ({15: 0.9, 30: 0.89}, 0.005),  # falls with the threshold
        ({3: 0.5, 5: 0.5, 15: 0.5, 30: 0.5}, 0.0),  # nothing between 1 and 30 degrees
        ({3: 0.0, 5: 0.4}, 0.0),  # everything in the fifth degree or sooner
        ({3: 0.0, 5: 0.45, 15: 1.0}, 1 / 6),  # jointly: AUC@5 <= 0.4 + 0.6 s and 1.5 (1 - s) - 0.5 AUC@5 <= 1
    ],
)
def test_shortfall(values: dict[int, float], off: float) -> None:
    assert shortfall(exact(values)) == pytest.approx(off, abs=1e-9)
    assert shortfall(exact(values, off + 1e-9)) == 0


@pytest.mark.parametrize(("auc_30", "impossible"), [("0.951", False), ("0.952", True)])
def test_auc_algebra_at_the_edge_of_rounding(paper: Paper, auc_30: str, impossible: bool) -> None:
    """(1 + 0.9005) / 2 = 0.95025 is still printed as 0.950; 0.951 is within half a digit of 0.9505 only with 0.901."""
    paper.aucs("RTN", "0.950", "0.900")
    paper.aucs("GPTQ", auc_30, "0.901")
    assert [f.cells for f in auc_algebra.check_auc_algebra(paper.read())] == ([("GPTQ W4A4",)] if impossible else [])


def test_saturation_and_accuracy_beyond_full_precision(paper: Paper) -> None:
    paper.aucs("FP16", "0.9731", "0.9462", "0.8462", "0.7630")
    paper.aucs("RTN", "0.9287", "0.8600", "0.5700", "0.4000")
    read = paper.read()
    (saturated,) = auc_algebra.check_saturation(read)
    assert saturated.cells == ("FP16 W16A16",) and "0.99985" in saturated.found and "0.23 %" in saturated.found
    (between,) = auc_algebra.check_between_thresholds(read)
    assert between.cells == ("RTN W4A4",) and "6 and 15" in between.expected
    assert between.beyond_rounding == pytest.approx(1.005 - 0.9962 - 0.0002, abs=1e-9)


# Means, medians, shares


@pytest.mark.parametrize(("mean", "median", "count"), [("0.020", "0.041", 0), ("0.020", "0.042", 1)])
def test_a_median_is_at_most_twice_the_mean(paper: Paper, mean: str, median: str, count: int) -> None:
    paper.distances("RTN", mean, median)
    found = error_algebra.check_bounds(paper.read())
    assert [finding.severity for finding in found] == ["impossible"] * count


def test_normal_consistency_is_bounded_through_its_complement(paper: Paper) -> None:
    paper.distances("RTN", "0.900", "0.799", "NC")  # 1 - 0.7995 = 0.2005 <= 2 (1 - 0.8995)
    paper.distances("GPTQ", "0.900", "0.798", "NC")
    assert [f.cells for f in error_algebra.check_bounds(paper.read())] == [("GPTQ W4A4",)]


@pytest.mark.parametrize(("relative", "count"), [("0.050", 0), ("0.049", 1)])
def test_depths_outside_the_factor_cost_relative_error(paper: Paper, relative: str, count: int) -> None:
    paper.add("RTN", "KITTI mono depth", "delta<1.25", "0.750")
    paper.add("RTN", "KITTI mono depth", "AbsRel", relative, direction="lower")
    assert len(error_algebra.check_bounds(paper.read())) == count


def test_one_mean_below_its_median(paper: Paper) -> None:
    paper.distances("FP16", "0.034", "0.039")
    for method in ("RTN", "GPTQ", "AWQ"):
        paper.distances(method, "0.050", "0.030")
    (finding,) = error_algebra.check_mean_and_median(paper.read())
    assert finding.cells == ("FP16 W16A16",) and finding.beyond_rounding == pytest.approx(0.004)
    paper.distances("QuaRot", "0.034", "0.039")
    assert not error_algebra.check_mean_and_median(paper.read())  # no longer the only one


# One paper against itself


def test_repeats_and_their_scatter(paper: Paper) -> None:
    paper.aucs("FlatQuant", "0.90", "0.800")
    paper.aucs("FGQ", "0.91", "0.830")
    paper.add("plain (no Fisher)", "CO3Dv2", "AUC@15", "0.820", table="Table 5")
    paper.add("FGQ", "CO3Dv2", "AUC@15", "0.8304", table="Table 5")  # printed as 0.830 with three digits
    read = paper.read()
    (finding,) = repeats.check_repeats(read)
    assert finding.cells == ("FlatQuant W4A4", "plain (no Fisher) W4A4")
    assert finding.beyond_rounding == pytest.approx(0.019)
    assert repeats.noise(read, "fgq") == {"pose": pytest.approx(0.02 / 0.19 / 2**0.5)}
    (scatter,) = repeats.check_scatter(read)
    assert "plain (no Fisher) W4A4 0.820 beside 0.8304 (Table 5)" in scatter.found
    assert "Table 1" not in scatter.found  # 0.03 apart, more than 0.02


def test_copies(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "quantvggt")
    place = "CO3Dv2 (10 frames)"
    for method, values in {
        "QuantVGGT N=10": ("0.9", "0.8", "0.7", "0.6"), "QuantVGGT N=20": ("0.9", "0.8", "0.7", "0.6"),
        "QuantVGGT N=5": ("0.9", "0.8", "0.7", "0.5"), "QuantVGGT N=40": ("0.8", "0.7", "0.6", "0.5"),
        "QuantVGGT K=8": ("0.8", "0.7", "0.6", "0.5"),  # another name of the same setting
    }.items():  # fmt: skip
        paper.aucs(method, *values, dataset=place, table="Table 11")
    (finding,) = copies.check_copies(paper.read())
    assert finding.severity == "inconsistent"
    assert finding.cells == ("QuantVGGT N=10 W4A4", "QuantVGGT N=20 W4A4")


def test_numbers_borrowed_from_another_paper(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    for name, place in (("quantvggt", "RTX4090 inference"), ("qvggt", "2 input frames RTX4090")):
        for metric, value in (("memory_reduction_x", "1.93"), ("latency_speedup_x", "2.17")):
            paper.add("QuantVGGT", place, metric, value, bits="W8A8", unit="x", paper=name)
    (finding,) = copies.check_borrowed(paper.read())
    assert (finding.paper, finding.where) == ("qvggt", "Table 1, 2 input frames RTX4090")


def test_four_bits_like_full_precision(paper: Paper) -> None:
    paper.aucs("FP16", "0.9", "0.8", "0.7", "0.6")
    paper.aucs("RTN", "0.9", "0.8", "0.7", "0.5")
    paper.aucs("GPTQ", "0.9", "0.8", "0.6", "0.5")
    assert [f.cells for f in copies.check_equal_to_full_precision(paper.read())] == [("RTN W4A4",)]


def test_better_than_full_precision(paper: Paper) -> None:
    paper.aucs("FP16", "0.90", "0.80")
    paper.aucs("RTN", "0.91", "0.80")
    paper.aucs("GPTQ", "0.92", "0.79")
    paper.aucs("AWQ", "0.93", "0.79")
    paper.distances("FP16", "0.030", "0.020")
    paper.distances("RTN", "0.020", "0.030")
    read = paper.read()
    counts = {count.method: (count.better, count.equal, count.worse) for count in precision.count_better(read)}
    assert counts == {"RTN": (2, 1, 1), "GPTQ": (1, 0, 1), "AWQ": (1, 0, 1)}
    (finding,) = precision.check_better_than_full(read)
    assert "RTN 2 of 4" in finding.found and "33.3 % better" in finding.found
    (column,) = precision.check_columns(read)
    assert column.found == "AUC@30 0.90, all 3 rows at w4a4 0.91 to 0.93"


def test_better_at_every_step_to_fewer_bits(paper: Paper) -> None:
    for bits, rising, falling in (("W16A16", "0.80", "0.80"), ("W4A8", "0.81", "0.81"), ("W4A4", "0.82", "0.79")):
        paper.aucs("FP16" if bits == "W16A16" else "RTN", rising, falling, bits=bits)
    (finding,) = precision.check_fewer_bits(paper.read())
    assert finding.found == "RTN AUC@30 0.80 (w16a16), 0.81 (w4a8), 0.82 (w4a4)"


def test_a_method_that_never_loses(paper: Paper) -> None:
    for index, place in enumerate(("CO3Dv2", "Re10K")):
        paper.aucs("FP16", "0.990", "0.980", "0.960", "0.940", dataset=place)
        paper.aucs("FGQ", "0.950", "0.900", "0.800", "0.700", dataset=place)
        paper.aucs("FlatQuant", "0.950", "0.899", "0.799", "0.699", dataset=place)
        paper.aucs("QuaRot", "0.940", "0.890", "0.790", "0.690" if index else "0.701", dataset=place)
    read = paper.read()
    stands = {one.rival: (one.wins, one.ties, one.losses) for one in rivals.standings(read)}
    assert stands == {"FlatQuant": (6, 2, 0), "QuaRot": (7, 0, 1)}
    assert not rivals.check_sweep(read)  # eight cells are too few
    paper.distances("FP16", "0.9", "0.8")
    paper.distances("FGQ", "1.0", "0.9")
    paper.distances("FlatQuant", "1.1", "1.0")
    (quiet,) = rivals.check_sweep(paper.read())
    assert quiet.cells == ("FlatQuant",) and "the scatter is not known" in quiet.found
    paper.add("FGQ", "CO3Dv2", "AUC@15", "0.880", table="Table 6")
    (finding,) = rivals.check_sweep(paper.read())
    # two ties and six differences far inside the scatter: about 8 / 2 losses, and the distances have no scatter
    assert "of these 8 w4a4 cells would be lost" in finding.found
    lost = float(finding.found.split(" of these")[0].split()[-1])
    assert 3.9 <= lost <= 4.0


def test_a_calibrated_method_that_loses_to_rounding(paper: Paper) -> None:
    paper.aucs("RTN", "0.95", "0.90")
    paper.aucs("SmoothQuant", "0.94", "0.90")
    paper.aucs("GPTQ", "0.96", "0.90")
    (finding,) = rivals.check_worse_than_rounding(paper.read())
    assert finding.cells == ("SmoothQuant",)


def test_a_reference_row_of_another_protocol(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "quantvggt")
    for place, table, value in (
        ("CO3Dv2 (10 frames)", "Table 1", "0.895"), ("CO3Dv2 (20 frames)", "Table 1", "0.900"), ("CO3Dv2", "Table 13", "0.900"),
    ):  # fmt: skip
        paper.add("Full Prec.", place, "AUC@30", value, bits="W16A16", table=table)
    paper.add("QuantVGGT", "CO3Dv2 (10 frames)", "AUC@30", "0.869")
    paper.add("QuantVGGT", "CO3Dv2", "AUC@30", "0.869", table="Table 13")
    (finding,) = references.check_reference_row(paper.read())
    assert finding.where == "Table 13, CO3Dv2" and "1 of the 1 quantized cells" in finding.found


def test_full_precision_across_papers(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.aucs("FP16", "0.9731", "0.9462")
    paper.add("Baseline", "CO3Dv2 (10 frames)", "AUC@30", "89.5", bits="FP16", unit="%", paper="qvggt")
    paper.add("Full Prec.", "CO3Dv2 (10 frames)", "AUC@15", "94.6", bits="W16A16", unit="%", paper="quantvggt")
    (finding,) = references.check_across_papers(paper.read())  # 0.9462 and 94.6 % agree
    assert finding.found == "AUC@30 0.9731 fraction (fgq), 89.5 % (qvggt)"


def test_speed_that_rises_with_frames(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "quantvggt")
    for frames, rising, falling in ((10, "2.47", "2.6"), (20, "2.49", "2.5"), (80, "2.55", "2.4")):
        for method, value in (("QuantVGGT", rising), ("RTN", falling)):
            paper.add(method, f"RTX4090 {frames} frames", "latency_speedup_x", value, unit="x")
    assert [finding.cells for finding in conditions.check_speed_by_frames(paper.read())] == [("QuantVGGT W4A4",)]


def test_latency_that_depends_on_the_data_set(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "qvggt")
    for method, bits, one, other in (
        ("Baseline", "FP16", "0.38", "0.37"),
        ("SmoothQuant", "W8A8", "0.62", "0.38"),
        ("AWQ", "W4A16", "0.28", "0.28"),
    ):
        for place, value in (("A", one), ("B", other)):
            paper.add(method, place, "latency_s", value, bits=bits, unit="s", direction="lower")
    assert [f.cells for f in conditions.check_latency_ratios(paper.read())] == [("SmoothQuant W8A8",)]


def test_memory_beyond_the_scope(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "quantvggt")
    paper.add("QuantVGGT", "RTX4090 inference", "memory_reduction_x", "3.65", unit="x")
    (finding,) = conditions.check_memory(paper.read())
    assert "at most 1.56x" in finding.expected and finding.found.startswith("3.65x: 96.8 to 96.9 %")


@pytest.mark.parametrize(("auc_15", "off"), [("80.1", None), ("80.3", 0.15)])
def test_a_claim_holds_within_rounding(tmp_path: Path, auc_15: str, off: float | None) -> None:
    """A gain of 15.0, from two rounded numbers, may be 14.9; 15.2 may not."""
    paper = Paper(tmp_path, "quantvggt")
    for method, first, second in (("QuantVGGT", "88.4", auc_15), ("Naive PTQ (BRECQ pipeline)", "78.8", "65.1")):
        for metric, value in (("AUC@30", first), ("AUC@15", second)):
            paper.add(method, "CO3Dv2", metric, value, table="Table 13", unit="%")
    found = claims.check_claims(paper.read())
    assert [f.beyond_rounding for f in found] == ([] if off is None else [pytest.approx(off)])


@pytest.mark.parametrize(("hours", "count"), [("0.88", 0), ("0.87", 1)])
def test_cells_that_ought_to_agree(paper: Paper, hours: str, count: int) -> None:
    paper.add("FlatQuant", "calibration(CO3Dv2)", "calib_GPU_time_min", "52.53", table="AppendixC", unit="min")
    paper.add("FlatQuant", "calibration (A100 40GB)", "calib_gpu_hours", hours, table="Table 6", unit="h")
    assert len(claims.check_same(paper.read())) == count


def test_rows_that_do_not_follow_more_frames(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "quantvggt")
    methods = ["Full Prec.", "QuantVGGT", *(f"rival {index}" for index in range(10))]
    for method in methods:
        later = {"Full Prec.": "0.905", "QuantVGGT": "0.913"}.get(method, "0.900")
        bits = "W16A16" if method == "Full Prec." else ""
        paper.add(method, "CO3Dv2 (10 frames)", "AUC@30", "0.900", bits=bits)
        paper.add(method, "CO3Dv2 (20 frames)", "AUC@30", later, bits=bits)
    (finding,) = conditions.check_more_frames(paper.read())
    assert finding.cells == ("QuantVGGT W4A4",)
    assert (
        "full precision +0.5, median of 11 rows +0.0 (10 print the same number twice), QuantVGGT W4A4 +1.3"
        in finding.found
    )


def test_settings_that_beat_the_chosen_one(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "quantvggt")
    for method, value in (("QuantVGGT K=6", "0.797"), ("QuantVGGT K=8", "0.790"), ("QuantVGGT K=10", "0.780")):
        paper.add(method, "CO3Dv2 (10 frames)", "AUC@15", value)
    (finding,) = conditions.check_best_setting(paper.read())
    assert finding.cells == ("QuantVGGT K=6 W4A4",) and finding.beyond_rounding == pytest.approx(0.006)


def test_weak_references(paper: Paper) -> None:
    for bits, value in (("FP32", "400"), ("BF16", "100"), ("W8A8", "50")):
        method = bits if bits != "W8A8" else "RTN"
        paper.add(
            method, "machine", "latency_ms", value, bits=bits, unit="ms", direction="lower", aggregation="mean of 20"
        )
    paper.add("RTN", "machine", "latency_speedup_x", "8.00", unit="x", aggregation="ratio vs FP32")
    paper.add("RTN", "machine", "speedup", "2.00", unit="x", aggregation="ratio vs fake-quant")
    found = references.check_weak_references(paper.read())
    assert [finding.found for finding in found] == [
        "RTN W4A4 speedup 2.00", "RTN W4A4 latency_speedup_x 8.00", "RTN W8A8: 8.00x of FP32, 2.000x of BF16",
    ]  # fmt: skip


# The papers


def only(findings: list[Finding], check: str, paper: str, where: str = "") -> Finding:
    found = [f for f in findings if (f.check, f.paper) == (check, paper) and where in f.where]
    assert len(found) == 1, found
    return found[0]


def test_impossible_rows(findings: list[Finding]) -> None:
    impossible = [f for f in findings if f.severity == "impossible"]
    assert [(f.paper, f.cells) for f in impossible] == [("fgq", ("FlatQuant W4A8",)), ("fgq", ("QuantVGGT W4A8",))]
    assert "6-15 deg: 1.00000" in impossible[0].found and "16-30 deg: 0.99955 to 0.99985" in impossible[0].found
    assert "16-30 deg: 1.00035" in impossible[1].found


def test_findings_of_the_specs(findings: list[Finding]) -> None:
    assert {f.where.split(",")[0] for f in findings if f.check == "AUC saturation"} == {"Table 1", "Table 7"}
    better = {
        f.where.split(",")[0]: f.found for f in findings if (f.check, f.paper) == ("better than full precision", "fgq")
    }
    assert "FGQ 25 of 34" in better["vggt-1b w4a8"] and "FGQ 14 of 34" in better["vggt-1b w4a4"]
    sweep = only(findings, "never worse", "fgq", "vggt-1b").found
    assert "FlatQuant 66 won, 2 tied; QuantVGGT 67 won, 1 tied. Lost to others: QuaRot 1 of 68" in sweep
    gains = only(findings, "gains", "fgq", "vggt-1b").found
    assert "over FlatQuant: poses 9.9 %, rooms and ETH3D 5.8 %, DTU 1.3 %, depth 2.7 %" in gains
    assert "over QuantVGGT: poses 0.6 %, rooms and ETH3D 8.7 %, DTU 3.2 %, depth 4.3 %" in gains
    assert {f.cells[:1] for f in findings if f.check == "repeats" and f.paper == "fgq"} == {
        ("FlatQuant W4A4",),
        ("FGQ W4A4",),
    }
    said = {f.expected: f for f in findings if f.check == "claims"}
    assert said["Table 13: AUC@30 gains +9.6 over naive PTQ"].beyond_rounding == pytest.approx(1.35)
    assert "97.1 %" in said["abstract: 4 bits keep 98 % of the accuracy"].found
    assert "511 %" in said["Figure 2: quantized point maps collapse by 200 to 500 %"].found
    assert only(findings, "reference row", "quantvggt").where == "Table 13, CO3Dv2"
    assert only(findings, "mean and median", "qvggt").found == "mean 0.034, median 0.039"
    beaten = [f.found for f in findings if (f.check, f.paper) == ("column beats full precision", "quantvggt")]
    assert any("Comp mean 2.232, all 8 rows at w4a4" in text for text in beaten)
    copied = {f.cells for f in findings if f.check == "copies" and f.paper == "quantvggt"}
    assert ("QuantVGGT N=10 W4A4", "QuantVGGT N=20 W4A4") in copied


def test_report(findings: list[Finding], published: Published) -> None:
    text = to_markdown(findings, published)
    assert text.count("\n| impossible |") == 2
    table = [line for line in text.splitlines() if line.startswith("| suspicious")]
    assert all(line.replace(r"\|", "").count("|") == 8 for line in table)
    values = to_json(findings, published)
    assert isinstance(values["findings"], list) and len(values["findings"]) == len(findings)


def test_committed_report_is_that_of_the_code(findings: list[Finding], published: Published) -> None:
    committed = Path(__file__).parents[2] / "reports/latest/audit/published.md"
    assert committed.read_text(encoding="utf-8") == to_markdown(findings, published)


def test_the_verb_prints_and_writes(tmp_path: Path, findings: list[Finding]) -> None:
    printed = CliRunner().invoke(app, ["audit"], catch_exceptions=False).output
    assert "FGQ\n  impossible: AUC algebra, Table 1, CO3Dv2: FlatQuant W4A8 (off by" in printed
    assert len(json.loads(CliRunner().invoke(app, ["audit", "--json"]).output)["findings"]) == len(findings)
    written = CliRunner().invoke(app, ["audit", "-o", str(tmp_path)], catch_exceptions=False).output
    assert f"{len(findings)} findings" in written
    assert (tmp_path / "published.md").is_file() and (tmp_path / "published.json").is_file()
