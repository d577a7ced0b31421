"""Where a number was measured: packages, git state, CPU and GPU. Goes into ``.meta.json``, never into keys."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CORE = ("torch", "numpy", "scipy", "pandas", "safetensors", "pydantic", "matplotlib", "typer", "rich", "pillow", "huggingface-hub")  # fmt: skip
EXTRAS = {
    "triton": "CUDA kernels (extra: test or gpu)",
    "nvidia-cutlass": "the faster int8 product on Hopper, where nvcc is installed as well (extra: cutlass)",
    "gemlite": "its W8A8 and W4A16 layers on CUDA, to compare ours with (pip install gemlite)",
    "torchao": "its int8 product on CUDA, to compare ours with (pip install torchao)",
    "opencv-python-headless": "matches for the epipolar check of a data set (extra: test or check)",
    "distributed": "sweeps on a Dask cluster, --executor dask (extra: test or cluster)",
    "dask-jobqueue": "sweeps on SLURM and other batch systems, --cluster (pip install dask-jobqueue)",
    "pytest": "the test suite (extra: test)",
    "pytest-benchmark": "speed regressions (extra: test)",
}


def package_version(name: str) -> str | None:
    """Installed version, None if absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Model name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_state() -> dict[str, Any]:
    """Commit and whether the tree has changes; empty outside a checkout of this project."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return {}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True).stdout.strip()

    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def devices() -> list[str]:
    """Torch devices: the CPU and every CUDA device by name."""
    import torch

    return ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))]


def device_name(kind: str) -> str:
    """What a torch device such as ``cpu`` or ``cuda:0`` is called."""
    import torch

    return torch.cuda.get_device_name(kind) if kind.startswith("cuda") else cpu_name()


@cache
def cpp_compiler() -> str | None:
    """Path of the C++ compiler that torch.compile needs on a CPU, None if there is none."""
    names = (os.environ.get("CXX", "c++"), "c++", "g++", "clang++")
    return next((path for name in names if (path := shutil.which(name))), None)


@cache
def describe() -> dict[str, Any]:
    """Everything, as plain JSON."""
    import torch

    return {
        "fgq_bench": package_version("fgq-bench"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in CORE},
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": devices(),
        "compiler": cpp_compiler(),
        "git": git_state(),
    }
