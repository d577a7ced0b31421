"""Triton kernels: on the GPU where there is one, else in Triton's interpreter.

``triton.jit`` decides at import which of the two a function becomes, Triton's own library included. The variable is
set only while our modules are imported, and Triton's library is replaced only while a test of this folder runs: what
``torch.compile`` finds elsewhere in the same process is untouched, whoever imported Triton first.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys

import pytest
import torch

PACKAGE = "fgq_bench.kernels.triton"
INTERPRETED = importlib.util.find_spec("triton") is not None and not torch.cuda.is_available()


def _import_interpreted() -> None:
    importlib.import_module("triton.experimental.gluon.language")  # it refuses to load with an interpreted library
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]  # imported by an earlier test, as compiled kernels
    package = importlib.import_module(PACKAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{PACKAGE}.{module.name}")


if INTERPRETED:
    _import_interpreted()


@pytest.fixture(autouse=True)
def _interpreted_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted versions of the functions of ``triton.language`` that are themselves kernels (``tl.max``)."""
    if not INTERPRETED:
        return
    import triton
    from triton.runtime.interpreter import InterpretedFunction

    for owner in (triton.language, triton.language.standard, triton.language.tensor):
        for name, value in list(vars(owner).items()):
            if isinstance(value, triton.runtime.JITFunction):
                monkeypatch.setattr(owner, name, InterpretedFunction(value.fn))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the kernels run."""
    if INTERPRETED and importlib.metadata.version("triton") < "3.7":
        pytest.skip("Triton 3.6's interpreter counts no loops with this NumPy: it needs Triton 3.7, or a GPU")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def interpreted() -> None:
    """Skip where the kernels were compiled for a GPU: the test passes tensors that lie on the CPU."""
    pytest.importorskip("triton", reason="the Triton kernels need triton (pip install fgq-bench[gpu])")
    if not INTERPRETED:
        pytest.skip("kernels are compiled where there is a GPU; hide it with CUDA_VISIBLE_DEVICES= to interpret them")
