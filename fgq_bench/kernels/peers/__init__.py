"""Other people's kernels on our artefacts: optional backends that ours are timed beside, in the same run.

A peer multiplies the artefact's own weight codes, scales and zero points, never weights that it rounded by a rule of
its own: what differs between the columns of a table is the code, not the network.
"""

from __future__ import annotations

from importlib.util import find_spec

from fgq_bench.kernels.cuda.int8 import missing_triton


def missing_library(name: str) -> str | None:
    """What is missing to run kernels of the package ``name`` on a GPU, None where nothing is."""
    return missing_triton() if find_spec(name) else f"{name} is not installed: pip install {name}"
