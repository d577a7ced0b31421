"""What ``make lint`` says of known vulnerabilities: nothing found out is not nothing found."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.audit_packages import main, verdict

SKIPPED = {"name": "torch", "skip_reason": "not found on PyPI"}
SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
BROKEN = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}


@pytest.mark.parametrize(
    ("packages", "code", "line"),
    [
        ([SKIPPED], 0, "skipped, the index knows no advisories of any of 1 packages"),
        ([SKIPPED, SOUND], 0, "no known vulnerability in 1 of 2 packages"),
        ([SKIPPED, SOUND, BROKEN], 1, "pillow 1.0: PYSEC-1, PYSEC-2"),
    ],
)
def test_verdict(packages: list[Any], code: int, line: str) -> None:
    found = verdict({"dependencies": packages})
    assert found[0] == code
    assert line in found[1]


@pytest.mark.parametrize("failure", [subprocess.TimeoutExpired("pip-audit", 30), FileNotFoundError("pip-audit")])
def test_offline_lint_passes_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: Exception
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise failure

    monkeypatch.setattr("tests.audit_packages.subprocess.run", refuse)
    assert main() == 0
    assert capsys.readouterr().out.startswith("pip-audit: skipped, no index is reachable (")
