"""The fault campaign's own machinery, on a few rounds: it finds nothing where nothing is wrong, and what is planted."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fgq_bench import api
from fgq_bench.errors import UserError
from fgq_bench.files import write_text
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel
from tests.faults.crashes import CUT, watch
from tests.faults.inputs import Kind, try_inputs
from tests.faults.mutations import JSON, flip_bit, truncate
from tests.faults.namespaces import own_process_numbers
from tests.faults.outcome import Row
from tests.faults.planted import CHANGES, plant
from tests.faults.report import to_markdown, write_report
from tests.faults.sweep import Ended, Sweep

ABOUT = {"command": "c", "cells": 1, "seconds": 1.0, "machine": "m", "finished": "f"}


def test_three_rounds_lose_nothing(tmp_path: Path) -> None:
    report = tmp_path / "faults.md"
    command = [
        sys.executable,
        "-m",
        "tests.faults",
        "--part",
        "kills",
        "--part",
        "crashes",
        "--part",
        "inputs",
        "--rounds",
        "3",
        "--inputs",
        "39",
    ]
    done = subprocess.run([*command, "-o", str(report)], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, report.read_text() if report.exists() else done.stderr
    found = json.loads(report.with_suffix(".json").read_text())
    kills, run_all, rendered, *inputs = found["rows"]
    assert run_all["outcomes"] == rendered["outcomes"] == {"finished by the next one": 3}
    assert kills["outcomes"] == {"survived": 3}
    assert sum(sum(row["outcomes"].values()) for row in inputs) >= 39
    assert found["lost"] == 0
    assert "3 kills survived" in report.read_text()


def kind(path: Path, trusting: bool) -> Kind:
    """A number in a file: read with care, or taken for what it says."""
    path.write_text('{"value": 12345678}')

    def read() -> object:
        if trusting:
            return json.loads(path.read_text())["value"]
        try:
            value = json.loads(path.read_text())["value"]
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            raise UserError("not a number") from None
        return value if value == 12345678 else None

    return Kind("number", path, read, JSON)


def test_a_trusting_reader_is_found_out(tmp_path: Path) -> None:
    careful = try_inputs(kind(tmp_path / "a.json", trusting=False), 40, 0)
    assert not careful.lost
    assert careful.tried == 40
    trusting = try_inputs(kind(tmp_path / "b.json", trusting=True), 40, 0)
    assert any("JSONDecodeError" in loss for loss in trusting.lost)
    assert any("taken for the sound file" in loss for loss in trusting.lost)
    assert (tmp_path / "b.json").read_text() == '{"value": 12345678}'


def test_a_mutation_comes_again_from_its_seed(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        path = tmp_path / "x"
        path.write_bytes(bytes(range(256)))
        for mutation in (flip_bit, truncate):
            mutation(path, random.Random("seed"))
        found.append(path.read_bytes())
    assert found[0] == found[1] != bytes(range(256))


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        (Ended(0, ""), None),
        (Ended(1, "one failed\nand a summary"), None),
        (Ended(2, "error: one line\n"), None),
        (Ended(2, "error: one line\nand another\n"), "not one line"),
        (Ended(70, "Traceback (most recent call last)\nKeyError: 'x'"), "traceback: KeyError: 'x'"),
        (Ended(-11, ""), "exit code -11"),
    ],
)
def test_how_a_sweep_may_end(ended: Ended, problem: str | None) -> None:
    assert bool(ended.problems) == bool(problem)
    assert problem is None or problem in ended.problems[0]


def test_every_difference_of_a_store_counts(tmp_path: Path) -> None:
    sweep = object.__new__(Sweep)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(name)
    from tests.faults.sweep import contents

    sweep.expected = contents(tmp_path)
    assert sweep.differences(tmp_path) == []
    (tmp_path / "a.json").write_text("A")
    (tmp_path / "b.json").unlink()
    (tmp_path / ".left-over").touch()
    (tmp_path / "a.meta.json").touch()
    assert sweep.differences(tmp_path) == [".left-over differs", "a.json differs", "b.json differs"]


def test_cut_off_at_any_file_operation_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    folder, seen = tmp_path / "store", set()
    path = folder / "a.txt"
    write_text(path, "old")
    for point in itertools.count(1):
        child = os.fork()
        if child == 0:
            watch(folder, point, tmp_path / "operations")
            write_text(path, "new")
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        seen.add(path.read_text())
        if code == 0:
            break
        assert code == CUT
        path.write_text("old")
    assert seen == {"old", "new"}
    assert point > 3, "a temporary folder, the file in it and its rename at least"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")
def test_a_namespace_hides_the_process_number_and_hands_on_the_exit_code() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        own_process_numbers()
        os.write(writer, str(os.getpid()).encode())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert 1 < int(os.read(reader, 100)) < 50
    os.close(reader)
    os.close(writer)


def test_planted_artefacts_state_a_hash_that_is_right(micro: VGGT, tmp_path: Path) -> None:
    path = tmp_path / "w4a4.safetensors"
    api.quantize(micro, "rtn", "w4a4", "aa").save(path)
    plant(path, lambda tensors, layers: None)
    sound = path.read_bytes()
    assert QuantizedModel.load(path).header["scheme"] == "w4a4"
    for change in CHANGES:
        path.write_bytes(sound)
        plant(path, change)
        assert path.read_bytes() != sound, change.__name__


def test_the_report_counts_losses(tmp_path: Path) -> None:
    row = Row("bad input: x", "one line")
    row.judge("refused", [])
    row.judge("refused", ["seed 0: KeyError: 'y'", "another"])
    assert row.tried == 2
    text = to_markdown([row], ABOUT)
    assert "2 bad inputs tried, **lost: 1**" in text
    assert "- seed 0: KeyError: 'y'" in text
    assert write_report(tmp_path / "r.md", [row], ABOUT) == 1
    assert json.loads((tmp_path / "r.json").read_text())["rows"][0]["lost"] == ["seed 0: KeyError: 'y'"]
