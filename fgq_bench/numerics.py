"""What decides the last bits and the time of a computation besides code and inputs: device, instructions, threads.

Scores keep their keys from one machine to the next, so this goes beside a result and into captions; what is kept for
reuse (statistics, artefacts, predictions) is only reused where it is the same. Times have it in their keys.
"""

from __future__ import annotations

import json
import os
from typing import Any

import torch

from fgq_bench.environment import device_name
from fgq_bench.processor import cpu_model, instruction_set
from fgq_bench.torch_compile import is_compiling


def computed_on(device: torch.device | str) -> dict[str, Any]:
    """Device, whether code is compiled, and on a CPU its model, instructions and the number of threads."""
    kind = torch.device(device)
    about = {"device": device_name(str(kind)), "compiled": is_compiling()}
    if kind.type != "cpu":
        return about
    return {
        **about, "processor": cpu_model(), "instructions": instruction_set(), "threads": torch.get_num_threads()
    }  # fmt: skip


def same_numerics(device: torch.device | str) -> str:
    """``computed_on`` as text, to compare."""
    return json.dumps(computed_on(device), sort_keys=True)


def in_words(about: dict[str, Any]) -> str:
    """``computed_on`` for a caption."""
    parts = [f"{about['device']} ({about['processor']})" if "processor" in about else about["device"]]
    parts += [about["instructions"]] if "instructions" in about else []
    parts += [f"{about['threads']} thread{'s' * (about['threads'] != 1)}"] if "threads" in about else []
    return ", ".join([*parts, "compiled" if about["compiled"] else "not compiled"])


def timed_on(device: torch.device | str, threads: int) -> dict[str, Any]:
    """The machine of a measured time, for its key: what ``computed_on`` says, and whether waiting threads spin."""
    kind = torch.device(device)
    about = {"name": device_name(str(kind)), "type": kind.type, "threads": threads}
    if kind.type != "cpu":
        return about
    waiting = os.environ.get("OMP_WAIT_POLICY", "undefined").lower()
    return {**about, "processor": cpu_model(), "instructions": instruction_set(), "waiting": waiting}
