"""``doctor``: what is here, and what each missing part would enable."""

from __future__ import annotations

from fgq_bench.cards import content_root
from fgq_bench.commands.printing import print_json, print_rows
from fgq_bench.environment import EXTRAS, describe, package_version


def diagnose(as_json: bool) -> None:
    """Print versions, devices, compiler, content root and extras."""
    found = describe()
    extras = {name: package_version(name) or f"missing: {purpose}" for name, purpose in EXTRAS.items()}
    if as_json:
        print_json({**found, "content_root": content_root(), "extras": extras})
        return
    compiler = found["compiler"] or "missing: training and bulk rendering run 5-10x slower without one (install g++)"
    facts = {
        "fgq-bench": found["fgq_bench"] or "not installed (running from a folder)",
        "python": found["python"],
        "platform": found["platform"],
        "cpu": f"{found['cpu']}, {found['cores']} cores, {found['threads']} torch threads",
        "devices": ", ".join(found["devices"]),
        "C++ compiler": compiler,
        "content root": content_root(),
        "git": found["git"].get("commit", "not a checkout"),
        **found["packages"],
        **extras,
    }
    print_rows("fgq-bench doctor", [{"part": key, "state": value} for key, value in facts.items()])
