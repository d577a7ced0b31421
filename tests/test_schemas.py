"""Files with a valid hash and foreign contents: refused in one line with file and key, and left out of what is shown."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored import scored, scored_conditions

from fgq_bench.cards import content_root
from fgq_bench.errors import UserError
from fgq_bench.executors.workshop import unpack
from fgq_bench.files import json_text
from fgq_bench.latency.variants import BASELINE
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.costs import read_costs
from fgq_bench.reporting.latency.report import latency_tables
from fgq_bench.reporting.latency.selection import read_latency
from fgq_bench.reporting.pace import Pace
from fgq_bench.reporting.page.page import render_page, sections_of
from fgq_bench.results import NOTES, Result, Store, content_key

LATEST = content_root() / "reports" / "latest"
RESULTS = LATEST / "results"
Change = Callable[[Any], object]


def test_every_committed_result_is_read_and_written_back_as_it_was() -> None:
    store, paths = Store(RESULTS), sorted(RESULTS.rglob("*.json"))
    assert len(paths) > 1600
    for index, path in enumerate(paths):
        text, values = path.read_text(encoding="utf-8"), store.read(path).values()
        assert json.dumps(values, sort_keys=True) == json.dumps(json.loads(text), sort_keys=True), path
        if index % 40 == 0:  # with the indents, which take Python half a minute for all
            assert json_text(values) == text, path


def committed(pattern: str) -> Any:
    return json.loads(next(iter(sorted(RESULTS.glob(pattern)))).read_text())


def plant(root: Path, values: Any) -> Path:
    """Write a result whose key is that of its conditions, under the name that it should have."""
    values["key"] = content_key(values["conditions"])
    path = root / Result(**values).path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def at(*keys: Any, to: Any) -> Change:
    """Put a value at a place."""

    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = to

    return change


def without(*keys: Any) -> Change:
    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        del values[keys[-1]]

    return change


POSE, LAYERS, MODEL = "vggt-tiny/procedural-rooms/pose/rtn-w4a4-*", "*/latency/*/layers/*", "*/latency/*/model/*"
COST = "*/calibration/*/*"
CRAFTED: list[tuple[str, Change, str]] = [
    (POSE, at("metrics", "auc@30", "value", to="0.5"), r"key 'metrics\.auc@30\.value': Input should be a valid number"),
    (POSE, at("metrics", "auc@30", "value", to=1e308), r"key 'metrics\.auc@30\.value': Input should be less"),
    (POSE, at("metrics", "auc@30", to=[]), r"key 'metrics\.auc@30'"),
    (POSE, without("metrics", "auc@30"), r"key 'metrics': those of pose are "),
    (POSE, at("sequences", 3, "auc@30", to=None), r"key 'sequences\.3\.auc@30'"),
    (POSE, without("sequences", 3, "auc@30"), r"key 'sequences\.3': the keys are auc@15"),
    (POSE, at("sequences", 0, "extra", to=1.0), r"key 'sequences\.0': the keys are"),
    (POSE, at("sequences", 0, "weight", to=-1.0), r"key 'sequences\.0\.weight'"),
    (POSE, at("sequences", 1, "sequence", to="rooms-test-0000"), r"key 'sequences': one is there twice"),
    (POSE, at("sequences", to=[]), r"key 'sequences': none has a weight"),
    (POSE, at("bytes", "total", to=0), r"key 'bytes': 'total' must be the sum"),
    (POSE, without("bytes", "total_bf16"), r"key 'bytes': the keys are aa, "),
    (
        POSE,
        at("conditions", "dataset", "options", "x", to=float("inf")),
        r"beyond the range of numbers|key 'conditions': a number is not finite",
    ),
    (POSE, at("conditions", "scheme", to="w5a5"), r"key 'conditions\.scheme': scheme 'w5a5'"),
    (POSE, at("conditions", "task", "name", to="poses"), r"key 'conditions\.task\.name': no task 'poses'"),
    (POSE, at("error", to="none"), r"key 'error': a text where the status is not ok"),
    (POSE, at("execution", to=[]), r"key 'execution'"),
    (POSE, at("skipped", to=[{"sequence": "x"}]), r"key 'skipped\.0\.reason': Field required"),
    (POSE, at("\x1b[31m", to=1), r"key '\\x1b\[31m': Extra inputs are not permitted"),
    (MODEL, at("metrics", BASELINE, "samples", to=[]), rf"key 'metrics\.{BASELINE}\.samples': List should have"),
    (MODEL, at("metrics", BASELINE, "samples", 0, to=0), rf"key 'metrics\.{BASELINE}\.samples\.0'"),
    (MODEL, without("metrics", BASELINE, "p20"), rf"key 'metrics\.{BASELINE}': key 'p20' is missing"),
    (MODEL, at("metrics", BASELINE, "speedup", to={}), rf"key 'metrics\.{BASELINE}\.speedup\.value'"),
    (MODEL, at("metrics", BASELINE, "breakdown", to={"linears": 0}), r"key 'breakdown': no part took any time"),
    (MODEL, at("metrics", BASELINE, "peak_bytes", to=None), rf"key 'metrics\.{BASELINE}\.peak_bytes'"),
    (MODEL, at("metrics", BASELINE, "error", to="x"), r"not both"),
    (MODEL, at("conditions", "model", "name", to="vggt-huge"), r"no model 'vggt-huge'; there are"),
    (MODEL, at("conditions", "image_size", to=0), r"key 'conditions\.image_size'"),
    (MODEL, without("conditions", "frames"), r"key 'conditions': key 'frames' is missing, which results of model have"),
    (MODEL, at("conditions", "variants", "variants", to=[{}]), r"key 'conditions\.variants\.variants\.0\.model'"),
    (MODEL, at("execution", "peaks", "bandwidth", to=1e150), r"key 'execution\.peaks\.bandwidth'"),
    (LAYERS, at("conditions", "role", to="qk"), r"key 'conditions\.role': Input should be 'qkv', 'proj'"),
    (LAYERS, at("conditions", "subject", to="layer"), r"key 'conditions\.subject'"),
    (COST, at("metrics", "seconds", "value", to=True), r"key 'metrics\.seconds\.value'"),
    (COST, at("conditions", "device", to="cpu"), r"key 'conditions\.device'"),
]


@pytest.mark.parametrize(("pattern", "change", "message"), CRAFTED, ids=[f"{m}" for _, _, m in CRAFTED])
def test_a_crafted_result_is_refused_in_one_line_with_file_and_key(
    tmp_path: Path, pattern: str, change: Change, message: str
) -> None:
    values = committed(pattern)
    path = plant(tmp_path, values)
    change(values)
    values["key"] = content_key(values["conditions"])
    path.write_text(json.dumps(values).replace("Infinity", "1e999"))
    with pytest.raises(UserError, match=message) as caught:
        Store(tmp_path).read(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.isprintable() and len(text) < len(str(path)) + 500
    with pytest.raises(UserError, match=message):  # what a worker sends is read as a file is
        unpack(json.dumps({"results": [json.loads(path.read_text())], "meta": {}}).encode())


@pytest.mark.parametrize("content", ["", "[]", "3", '{"schema": 2}', '{"schema": 1, "kind": []}', "[" * 10000, "NaN"])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"^\S*x\.json: [^\n]+$"):
        Store(tmp_path).read(tmp_path / "x.json")


def test_results_are_written_by_what_reads_them(tmp_path: Path) -> None:
    cell = scored(scored_conditions(), [{"auc@30": 0.5}])
    bad = replace(cell, metrics={**cell.metrics, "auc@30": {**cell.metrics["auc@30"], "value": float("nan")}})
    with pytest.raises(UserError, match=r"key 'metrics\.auc@30\.value': Input should be a finite number"):
        Store(tmp_path).put(bad, {})
    assert not list(tmp_path.iterdir())


def test_a_bad_file_is_named_once_and_the_others_are_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for pattern in (MODEL, COST):
        good = committed(pattern)
        plant(tmp_path, good)
        bad = committed(pattern)
        bad["conditions"]["torch"] = "another"
        name = next(iter(bad["metrics"]))
        bad["metrics"][name]["value"] = "fast"
        plant(tmp_path, bad)
    store = Store(tmp_path)
    assert len(read_latency(store)) == len(read_costs(store)) == 1
    assert latency_tables(store)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("value': Input should be a valid number; left out" in line for line in lines)


def test_a_result_on_other_sequences_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, cell = Store(tmp_path), scored(scored_conditions(), [{}, {}])
    store.put(cell, {})
    assert store.get(cell, ["0", "1"]) == cell
    for others in (["0"], ["1", "0"], ["0", "1", "2"]):
        assert store.get(cell, others) is None
        assert "key 'sequences': not those of the data set" in caplog.text
    skipped = replace(cell, skipped=[{"sequence": "2", "reason": "no picture"}])
    store.put(skipped, {})
    assert store.get(cell, ["0", "2", "1"]) == skipped
    assert store.get(cell, ["0", "1"]) is None


FACTS: list[tuple[str, Change, str]] = [
    ("fisher", at("blocks", 0, "depth", to="x"), r"key 'blocks\.0\.depth'"),
    (
        "fisher",
        without("share_by_token_type", "depth", "patch"),
        r"key 'share_by_token_type\.depth': the keys are camera",
    ),
    ("fisher", at("blocks", to=[]), r"tensor 'fisher': shape \[3, 8, 3, 192\] instead of \[3, 0, 3, any\]"),
    ("sensitivity", at("parts", 0, "camera", to=1e150), r"key 'parts\.0\.camera'"),
    ("sensitivity", at("protected", to="all"), r"key 'protected'"),
    ("fisher-validity", at("channels", "correlation", to={}), r"key 'channels\.correlation': no ranking 'own task'"),
    ("fisher-validity", at("contrast", "x", to={}), r"key 'contrast\.x': the keys are rotation"),
    ("fisher-validity", at("cancellation", "artefacts", to={}), r"key 'cancellation\.artefacts': no training 'plain'"),
    ("fisher-validity", at("conditions", "width", to=None), r"key 'conditions\.width'"),
]


@pytest.mark.parametrize(("verb", "change", "message"), FACTS, ids=[message for _, _, message in FACTS])
def test_damaged_facts_are_named_on_the_page_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, verb: str, change: Change, message: str
) -> None:
    for name in ("fisher", "sensitivity", "fisher-validity"):
        (tmp_path / name).mkdir()
        shutil.copy(LATEST / name / f"{name}.json", tmp_path / name)
    shutil.copy(LATEST / "fisher" / "fisher.safetensors", tmp_path / "fisher")
    path = tmp_path / verb / f"{verb}.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    sections = sections_of(tmp_path, [], Store(tmp_path), PredictionCache(tmp_path / "cache"))
    named = verb.removeprefix("fisher-")
    found = {section.name: section.missing for section in sections}
    assert re.match(rf"Left out: {path.with_suffix('')}\.\w+: not what fgq-bench {verb} writes", found[named])
    (line,) = [record.getMessage() for record in caplog.records if str(path.parent) in record.getMessage()]
    assert line.count("\n") == 0
    assert re.search(message, line)
    assert [name for name in ("fisher", "sensitivity", "validity") if name != named and found[name]] == []
    assert "Left out" in render_page(sections)


@pytest.mark.parametrize("seconds", ['"1"', "[]", "-1", "1e999", "NaN", "null"])
def test_notes_that_are_none_give_no_pace(tmp_path: Path, seconds: str) -> None:
    store, cell = Store(tmp_path), scored(scored_conditions(), [{}])
    store.put(cell, {"seconds": 2.0})
    assert list(Pace.read(store).rates.values()) == [[2.0]]
    (tmp_path / cell.path()).with_suffix(NOTES).write_text(f'{{"seconds": {seconds}}}')
    assert Pace.read(store).rates == {}
