"""Speed regressions: ratios of this run beside the committed ones of the same machine.

``make bench`` prints both and fails where a ratio has lost a quarter. ``--update-baseline`` writes the file to commit.
Times themselves are never compared: two machines of one name differ, and so do two hours on one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from fgq_bench.processor import cpu_name

BASELINES = Path(__file__).parent / "baselines"
LOST = 0.75  # of the committed ratio: runs differ by a tenth


def machine() -> str:
    """File name of this machine's baseline: processor and number of threads."""
    return re.sub(r"[^a-z0-9]+", "-", f"{cpu_name()} {torch.get_num_threads()} threads".lower())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-baseline", action="store_true", help="Write this machine's ratios to be committed.")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = {
        bench.name: round(bench.extra_info["ratio"], 3)
        for bench in getattr(getattr(session.config, "_benchmarksession", None), "benchmarks", [])
        if bench and "ratio" in bench.extra_info
    }
    if not found:
        return
    path = BASELINES / f"{machine()}.json"
    known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    lost = [name for name, ratio in found.items() if ratio < LOST * known.get(name, 0.0)]
    print(f"\nratios beside {path.name}:" if known else f"\nno committed baseline of this machine ({path.name})")
    for name, ratio in found.items():
        print(f"{ratio:8.3f}  {known.get(name, float('nan')):8.3f}  {name}{'  LOST' if name in lost else ''}")
    if session.config.getoption("--update-baseline"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**known, **found}, indent=1, sort_keys=True) + "\n")
    elif lost:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
