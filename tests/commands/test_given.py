"""Options that are given twice or in vain are refused in one line, by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgq_bench import cli
from fgq_bench.errors import UserError

RUN = ["run", "-m", "rtn", "-b", "w4a4", "-d", "procedural-rooms"]
HERE = ["--root", "folder=."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*RUN, *HERE, "--root", "folder=/tmp"], r"--root folder: given 2 times \(\., /tmp\); which one is meant\?"),
        ([*RUN, *HERE, *HERE], r"--root folder: given 2 times"),
        ([*RUN, "--set", "a=1", "--set", " a = 2"], r"--set a: given 2 times \(1, 2\)"),
        ([*RUN, "-m", "rtn"], "--method rtn: given 2 times; once is enough"),
        ([*RUN, "-b", "w4a4"], "--scheme w4a4: given 2 times"),
        ([*RUN, "-d", "procedural-rooms"], "--dataset procedural-rooms: given 2 times"),
        ([*RUN, "-t", "pose", "-t", "pose"], "--task pose: given 2 times"),
        ([*RUN, "--seed", "1", "--seed", "1"], "--seed 1: given 2 times"),
        ([*RUN, "--scope", "aa", "--scope", "aa"], "--scope aa: given 2 times"),
        (["run-all", "--report", "headline", "--report", "headline"], "--report headline: given 2 times"),
        (["manifest", "-d", "dtu", "-d", "dtu", "-o", "m.json"], "--dataset dtu: given 2 times"),
        (["latency", "--tokens", "4", "--tokens", "4"], "--tokens 4: given 2 times"),
        (["latency", "--subject", "layers", "--subject", "layers"], "--subject layers: given 2 times"),
        (["fisher-validity", "-o", "x", "--seed", "0", "--seed", "0"], "--seed 0: given 2 times"),
        (["fisher-validity", "-o", "x", "--estimator", "sum", "--estimator", "sum"], "--estimator sum: given 2 times"),
        ([*RUN, "--calibration", "nowhere.json"], r"--calibration nowhere\.json: nothing that is asked for learns"),
        (["quantize", *RUN[1:5], "-o", "a.safetensors", "--calibration", "nowhere.json"], "nothing that is asked for"),
        (["quantize", *RUN[1:5], "-o", "a.safetensors", *HERE], "--root names 'folder', which is not among"),
        (["cost", *RUN[1:5], "--calibration", "nowhere.json"], "nothing that is asked for learns"),
        (["parity", *RUN[1:5], "--calibration", "nowhere.json"], "nothing that is asked for learns"),
        (["parity", *RUN[1:5], *HERE], "--root names 'folder'"),
        (["latency", "--calibration", "nowhere.json"], "nothing that is asked for learns"),
        (["calibrate", "--dry-run", "--calibration", "x.json"], "--dry-run reads neither a manifest"),
        (["calibrate", *HERE], "--root names 'folder'"),
        (["manifest", "-d", "procedural-rooms-pool", "-o", "m.json", *HERE], "--root names 'folder'"),
        (["frames", "dtu", *HERE], "--root names 'folder'"),
        (["inspect", "-o", "x", *HERE], "--root names 'folder'"),
        (["show", "dtu", *HERE], "--root folder=.: nothing is read without --figure"),
        (["compare", "rtn w4a4", "fp", *HERE], "--root names 'folder'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_given_twice_or_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
