"""Where a number was measured: packages, git state, CPU and GPU, the compiler. Goes into ``.meta.json``, never into keys."""

from __future__ import annotations

import getpass
import logging
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fgq_bench.errors import UserError
from fgq_bench.processor import cpu_model, cpu_name, instruction_set
from fgq_bench.scratch import scratch_folder

COMPILER_LIMIT = 120.0  # s, for a compiler on a cold network disk
_log = logging.getLogger(__name__)
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
    """The C++ compiler that torch.compile uses on a CPU (``CXX``, else g++); None, with a word, where it does not work.

    Raises UserError where torch has no folder to keep compiled code in.
    """
    check_compile_cache()
    import torch._inductor.config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    asked = str(torch._inductor.config.cpp.cxx[-1])
    try:
        found = get_cpp_compiler()
    except (InvalidCxxCompiler, OSError):
        if "CXX" in os.environ:
            _log.warning("CXX=%r is no compiler that torch can call: it takes one program, without arguments", asked)
        return None
    reason = _compiler_fault(found)
    if reason is not None:
        _log.warning("the C++ compiler %s does not work: %s", found, reason)
        return None
    return shutil.which(found)


def _compiler_fault(compiler: str) -> str | None:
    """Why ``compiler`` cannot make what torch asks of it, in a line; None where it can."""
    openmp = [] if sys.platform == "darwin" else ["-fopenmp"]
    with scratch_folder() as folder:
        command = [compiler, *openmp, f"-I{sysconfig.get_path('include')}", "-shared", "-fPIC", "-x", "c++", "-"]
        try:
            made = subprocess.run(
                [*command, "-o", str(folder / "probe.so")], input="#include <Python.h>\n#include <cmath>\n",
                capture_output=True, text=True, timeout=COMPILER_LIMIT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        fault = next(iter(made.stderr.strip().splitlines()), f"exit code {made.returncode}")
        return None if made.returncode == 0 else fault


def check_compile_cache() -> None:
    """Raise UserError where torch's folder for compiled code cannot be written; torch makes it when it is imported."""
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    try:
        folder = Path(named) if named else Path(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}")
    except (KeyError, OSError):  # a user without a name
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(parent=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror}; torch keeps compiled code there: name another folder in the "
            "environment variable TORCHINDUCTOR_CACHE_DIR"
        ) from None


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
        "cpu_model": cpu_model(),
        "instructions": instruction_set(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": devices(),
        "compiler": cpp_compiler(),
        "git": git_state(),
    }
