"""``make lint``: known vulnerabilities of what is installed, where a service that knows them is reachable.

Offline, and behind a mirror that has packages but no advisories, it says so in one line and passes: what pip-audit
calls "no known vulnerabilities found" there means that it found nothing out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMAND = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json", "--progress-spinner", "off", "--timeout", "5"]  # fmt: skip
SECONDS = 30.0  # that a check may take


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """Exit code and one line for pip-audit's JSON report."""
    packages = report["dependencies"]
    known = [package for package in packages if "vulns" in package]
    found = [f"{p['name']} {p['version']}: {', '.join(v['id'] for v in p['vulns'])}" for p in known if p["vulns"]]
    if found:
        return 1, "pip-audit: " + "; ".join(found)
    if not known:
        return 0, f"pip-audit: skipped, the index knows no advisories of any of {len(packages)} packages"
    return 0, f"pip-audit: no known vulnerability in {len(known)} of {len(packages)} packages (the others are not on the index)"  # fmt: skip


def main() -> int:
    """Audit this environment."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=SECONDS)
        code, line = verdict(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError, OSError) as error:
        code, line = 0, f"pip-audit: skipped, no index is reachable ({type(error).__name__})"
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
