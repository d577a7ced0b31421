"""Compile the CUTLASS product with nvcc into the user's cache: ``python -m fgq_bench.kernels.cutlass.build [FOLDER]``.

It happens at first use and takes minutes. A library that was built elsewhere, carried over in the folder that
``FGQ_BENCH_KERNELS`` names, needs neither nvcc nor headers. The CUDA runtime is linked statically.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from fgq_bench.errors import UserError
from fgq_bench.kernels.cutlass.variants import VARIANTS, Variant

SOURCE = Path(__file__).with_name("int8_gemm.cu")
ARCHITECTURE = "sm_90a"
FLAGS = (
    "-std=c++17", "-O3", "-DNDEBUG", "--expt-relaxed-constexpr", "-gencode=arch=compute_90a,code=sm_90a",
    "-fmad=false",  # the rounding is the reference's, step by step
    "-cudart=static", "-Xcompiler", "-fPIC", "-Xcompiler", "-fvisibility=hidden",
)  # fmt: skip
VARIABLE = "FGQ_BENCH_KERNELS"
_log = logging.getLogger(__name__)


def folder() -> Path:
    """Where built kernels are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(VARIABLE) or cache / "fgq-bench" / "kernels")


def nvcc() -> str | None:
    """The CUDA compiler: on PATH, or where CUDA is usually installed."""
    homes = (os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    candidates = [str(Path(home, "bin", "nvcc")) for home in homes if home]
    return next((found for each in ("nvcc", *candidates) if (found := shutil.which(each))), None)


@functools.cache
def _version(compiler: str) -> str:
    """Its version, ``unknown`` where it does not say."""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"V(\d+(?:\.\d+)+)", said)
    return found[1] if found else "unknown"


def headers() -> Path | None:
    """CUTLASS's include folder, of the package ``nvidia-cutlass``."""
    spec = find_spec("cutlass_library")
    places = [Path(place, "source", "include") for place in (spec.submodule_search_locations or [])] if spec else []
    return next((place for place in places if (place / "cutlass" / "cutlass.h").exists()), None)


@functools.cache
def _key() -> str:
    """Stands for everything of ours that decides what the library does."""
    text = "\n".join([SOURCE.read_text(), *FLAGS, *(repr(variant.macros()) for variant in VARIANTS)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _target(compiler: str) -> Path:
    return folder() / f"cutlass-{ARCHITECTURE}-{_key()}-nvcc{_version(compiler)}.so"


def found() -> Path | None:
    """The library built from this source by this machine's compiler; one by another compiler, where it was carried
    here (``FGQ_BENCH_KERNELS``) or none can be built.
    """
    compiler = nvcc()
    if compiler is not None and _target(compiler).exists():
        return _target(compiler)
    if compiler is not None and headers() is not None and VARIABLE not in os.environ:
        return None
    return next(iter(sorted(folder().glob(f"cutlass-{ARCHITECTURE}-{_key()}-*.so"), reverse=True)), None)


def missing() -> str | None:
    """Why there is no library and none can be built here; None where there is one or it can be tried."""
    if found() is not None:
        return None
    compiler = nvcc()
    if compiler is None:
        return f"no nvcc to build it with, and nothing built in {folder()}"
    if headers() is None:
        return "no CUTLASS headers to build it with: pip install 'fgq-bench[cutlass]'"
    log = _target(compiler).with_suffix(".log")
    return f"its build failed, {log} says why (delete it to try again)" if log.exists() else None


def build() -> Path:
    """The library's path; compiled now unless it is there. Raises UserError with one line where that fails."""
    if (there := found()) is not None:
        return there
    if (why := missing()) is not None:
        raise UserError(f"the CUTLASS product cannot be built: {why}")
    compiler, include = nvcc(), headers()
    assert compiler is not None and include is not None
    target = _target(compiler)
    target.parent.mkdir(parents=True, exist_ok=True)
    _log.warning("building %d CUTLASS kernels into %s (once, minutes)", len(VARIANTS), target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        try:
            os.replace(_compile(compiler, include, Path(place)), target)
        except subprocess.CalledProcessError as error:
            target.with_suffix(".log").write_text(f"{' '.join(error.cmd)}\n{error.stdout}")
            raise UserError(f"the CUTLASS product cannot be built: {missing()}") from None
    return target


def _compile(compiler: str, include: Path, place: Path) -> Path:
    """One object per variant, as many at once as there are processors, then one library."""

    def compiled(variant: Variant) -> str:
        macros = [f"-D{name}={value}" for name, value in variant.macros().items()]
        object_file = str(place / f"{variant.name}.o")
        _run([compiler, *FLAGS, f"-I{include}", *macros, "-c", "-o", object_file, str(SOURCE)])
        return object_file

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, VARIANTS))
    library = place / "library.so"
    _run([compiler, *FLAGS, "-shared", "-o", str(library), *objects])
    return library


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ[VARIABLE] = sys.argv[1]
    sys.stdout.write(f"{build()}\n")
