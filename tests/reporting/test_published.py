"""The papers' printed numbers: units, names, full precision, and the files themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgq_bench.cards import MethodCard, ProtocolCard, card_names, content_root, load_card
from fgq_bench.errors import UserError
from fgq_bench.quant.scheme import Scheme
from fgq_bench.reporting.columns import Column
from fgq_bench.reporting.published import PAPERS, Published, PublishedCell, load_published
from fgq_bench.reporting.rows import RowText

SHARED = Path(__file__).parents[2].parent / "shared/published"
HEADS = "paper,table,model,method,bits,dataset,metric,aggregation,value,unit,direction"
LINE = "Paper,Table 1,VGGT-1B,RTN,W4A4,CO3Dv2,AUC@30,dataset,76.5,%,higher"


@pytest.fixture(scope="module")
def published() -> Published:
    return load_published()


def find(published: Published, paper: str, table: str, method: str, metric: str, scheme: str = "w4a4") -> PublishedCell:
    cells = published.table(paper, table)
    return next(cell for cell in cells if (cell.method, cell.metric, cell.scheme) == (method, metric, scheme))


def write(folder: Path, *lines: str, heads: str = HEADS) -> Path:
    for paper in PAPERS:
        (folder / f"{paper}.csv").write_text("\n".join([heads, *lines]) + "\n")
    return folder


@pytest.mark.parametrize("paper", PAPERS)
def test_files_are_those_of_the_shared_material(paper: str) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"the shared material is not in {SHARED}")
    ours = content_root() / "reports/published" / f"{paper}.csv"
    assert ours.read_bytes() == (SHARED / f"{paper}.csv").read_bytes()


@pytest.mark.parametrize(
    ("printed", "unit", "value", "ours", "half"),
    [
        ("76.5", "%", 0.765, "fraction", 0.0005),
        ("0.9731", "fraction", 0.9731, "fraction", 0.00005),
        ("1.308", "mm", 0.001308, "metres", 5e-7),
        ("0.044", "m", 0.044, "metres", 0.0005),
        ("1.2754", "deg", 1.2754, "degrees", 0.00005),
        ("52.53", "min", 3151.8, "seconds", 0.3),
        ("0.87", "h", 3132.0, "seconds", 18.0),
        ("401", "ms", 0.401, "seconds", 0.0005),
        ("4.998", "GiB", 4.998 * 2**30, "bytes", 0.0005 * 2**30),
        ("2.49", "x", 2.49, "ratio", 0.005),
    ],
)
def test_units(tmp_path: Path, printed: str, unit: str, value: float, ours: str, half: float) -> None:
    cell = load_published(write(tmp_path, f"P,T,M,RTN,W4A4,D,m,a,{printed},{unit},higher")).cells[0]
    assert cell.unit == ours
    assert cell.value == pytest.approx(value)
    assert cell.half_digit == pytest.approx(half)
    assert [cell.low, cell.high] == pytest.approx([value - half, value + half])
    assert (cell.printed.value, cell.printed.unit) == (printed, unit)


def test_units_that_the_transcription_gets_wrong(published: Published) -> None:
    ends = published.table("fgq", "Figure2")
    assert {(cell.value, cell.unit) for cell in ends} == {(2.0, "fraction"), (5.0, "fraction")}
    memory = published.table("concurrent", "log entry")[1]
    assert (memory.value, memory.unit) == (15384 * 2**20, "bytes")


def test_every_name_of_this_project_exists(published: Published) -> None:
    """A row label parses and its method, preset, options and manifest exist; so do schemes, columns and protocols."""
    methods = set(card_names("methods"))
    manifests = {path.stem for path in (content_root() / "datasets/calibration").glob("*.json")}
    for cell in published.cells:
        name, _, preset = cell.method.split()[0].partition(":")
        if name in methods:
            words = cell.method.split()
            row = RowText.parse("published", " ".join([words[0], "w4a4", *words[1:]]))
            card = load_card(MethodCard, name)
            assert not preset or preset in card.presets
            assert set(row.overrides()) <= set(card.options)
            assert row.calibration is None or row.calibration in manifests
        if cell.scheme.startswith("w"):
            assert str(Scheme.parse(cell.scheme)) == cell.scheme
        if cell.protocol is not None:
            assert cell.dataset in load_card(ProtocolCard, cell.protocol).datasets
            if "." in cell.metric:
                column = Column.parse(cell.metric)
                assert column.higher_is_better == cell.higher_is_better


def test_headlines_of_the_protocols_are_printed(published: Published) -> None:
    """Names agree with what the protocol cards say that a paper prints (KITTI: the paper names no alignment)."""
    printed = {(cell.protocol, cell.dataset, cell.metric) for cell in published.cells}
    for protocol in ("fgq", "quantvggt", "quantvggt-20", "quantvggt-200", "qvggt"):
        for dataset, entry in load_card(ProtocolCard, protocol).datasets.items():
            wanted = [
                metric for metric in entry.headline if not dataset.startswith("kitti") or metric.endswith("_scale")
            ]
            missing = {metric for metric in wanted if (protocol, dataset, metric) not in printed}
            assert missing <= {"depth.abs_rel_median", "depth.delta_1.25_median"}, (protocol, dataset)


def test_names(published: Published) -> None:
    arm = find(published, "quantvggt", "Table 4", "quantvggt scale=false", "pose-first-camera.auc@30/category")
    assert (arm.printed.method, arm.value, arm.dataset, arm.protocol) == ("Rotation only", 0.836, "co3dv2", "quantvggt")
    points = find(published, "fgq", "Table 3", "fgq", "pointmap-mm.acc_median_depth+camera")
    assert (points.printed.value, points.unit) == ("0.801", "metres")
    assert points.value == pytest.approx(0.000801)
    assert {cell.scheme for cell in published.of("qvggt") if cell.method == "qvggt"} == {"w4a16g128"}
    assert (
        find(published, "quantvggt", "Table 1", "DopQ-ViT", "pose-first-camera.auc@3/category").printed.value == "23.3"
    )


def test_relative_to_the_tables_own_full_precision(published: Published) -> None:
    score = published.relative(find(published, "fgq", "Table 1", "flatquant", "pose.auc@30"))
    assert score is not None
    assert score.difference == pytest.approx(0.7240 - 0.8667)
    assert score.worse_by == pytest.approx(1 - 0.7240 / 0.8667)
    error = published.relative(find(published, "fgq", "Table 3", "rtn", "pointmap-mm.acc_mean_depth+camera"))
    assert error is not None
    assert error.ratio == pytest.approx(7.987 / 1.308)
    assert error.worse_by == pytest.approx(7.987 / 1.308 - 1)
    better = published.relative(find(published, "fgq", "Table 4", "fgq", "depth-l1.abs_rel_scale"))
    assert better is not None and better.worse_by == pytest.approx(0.079 / 0.092 - 1)


def test_full_precision_of_another_table_where_a_table_has_none(published: Published) -> None:
    arm = find(published, "quantvggt", "Table 9", "quantvggt rotation=false", "pose-first-camera.auc@30/category")
    full = published.full_precision(arm)
    assert full is not None and full.printed.value == "89.5"  # five tables, where Table 13 prints 90.0
    scored = find(published, "fgq", "Table 5", "fgq:uniform", "pose.auc@15/category")
    reference = published.full_precision(scored)
    assert reference is not None and (reference.table, reference.value) == ("Table 1", 0.9462)
    assert published.full_precision(published.table("fgq", "Figure 4")[0]) is None
    assert published.relative(published.table("fgq", "Figure 4")[0]) is None


def test_sixteen_bits_are_full_precision_where_thirty_two_are_printed_too(published: Published) -> None:
    kernel = next(cell for cell in published.table("concurrent", "kernel latency") if cell.scheme == "w8a8")
    full = published.full_precision(kernel)
    assert full is not None and full.printed.bits == "BF16"
    deployed = next(cell for cell in published.table("concurrent", "deployment table") if cell.scheme == "w8a8")
    full = published.full_precision(deployed)
    assert full is not None and full.printed.bits == "FP32"


def test_fast_vggt_is_not_full_precision(published: Published) -> None:
    assert {cell.printed.method for cell in published.table("quantvggt", "Table 7") if cell.is_full_precision} == {
        "VGGT"
    }


def test_unknown_names_are_refused_with_close_ones(published: Published) -> None:
    with pytest.raises(UserError, match="unknown paper 'qvgt'; did you mean qvggt"):
        published.of("qvgt")
    with pytest.raises(UserError, match="unknown table of fgq 'Table 11'; did you mean"):
        published.table("fgq", "Table 11")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([LINE, LINE.replace("76.5", "n/a")], r"fgq.csv:3: value 'n/a' is not a plain number"),
        ([LINE.replace("%", "inch")], r"fgq.csv:2: unknown unit 'inch'"),
        ([LINE.replace("higher", "up")], r"fgq.csv:2: direction 'up' is neither higher nor lower"),
        ([LINE + ",more"], r"fgq.csv:2: 12 fields, not 11"),
        ([LINE, '"Paper' + LINE], r"fgq.csv:\d: not valid CSV"),
    ],
    ids=["value", "unit", "direction", "fields", "quote"],
)
def test_a_malformed_line_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_published(write(tmp_path, *lines))
    assert "\n" not in str(caught.value)


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fgq.csv: cannot be read: No such file"):
        load_published(tmp_path)
    with pytest.raises(UserError, match=r"fgq.csv:1: the heads must be"):
        load_published(write(tmp_path, heads="paper,value"))
    (tmp_path / "fgq.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"fgq.csv:1: not valid CSV"):
        load_published(tmp_path)
