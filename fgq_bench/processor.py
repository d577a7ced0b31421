"""The processor, and which of its instructions are used: two of one name may differ in speed and in last bits."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

FLAGS = (  # as /proc/cpuinfo calls those that matrix products are made of
    "avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")  # what users may set


@cache
def _about() -> dict[str, str]:
    """What the kernel says of the first processor; empty where it says nothing."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def cpu_name() -> str:
    """Model name of the processor; clouds give one name to several models."""
    return _about().get("model name") or platform.processor() or platform.machine()


def cpu_model() -> str:
    """Vendor, family, model and stepping, such as ``AuthenticAMD 25/17/1``; the architecture where nobody tells."""
    keys = ("cpu family", "model", "stepping")
    numbers = [_about()[key] for key in keys if key in _about()]
    return f"{_about()['vendor_id']} {'/'.join(numbers)}" if numbers and "vendor_id" in _about() else platform.machine()


def has(flag: str) -> bool:
    """Whether the processor has an instruction set, as /proc/cpuinfo calls it."""
    return flag in _about().get("flags", _about().get("Features", "")).split()


def instruction_set() -> str:
    """What torch's own loops use (``ATEN_CPU_CAPABILITY`` lowers it), what the processor has, what users forbid.

    Such as ``AVX512; avx2 avx512f avx512_vnni; ONEDNN_MAX_CPU_ISA=AVX2``.
    """
    import torch

    limits = [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return "; ".join(filter(None, [torch.backends.cpu.get_cpu_capability(), " ".join(filter(has, FLAGS)), *limits]))
