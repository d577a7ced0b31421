"""The compiler is asked for as torch does, and what does not work is said; so is a folder that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgq_bench.environment import check_compile_cache, cpp_compiler
from fgq_bench.errors import UserError

ASK = "from fgq_bench.environment import cpp_compiler; print(cpp_compiler())"
ADD = """
import torch
from fgq_bench.torch_compile import fused, is_compiling
print(is_compiling(), fused(torch.sin)(torch.zeros(2)).tolist())
"""


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def ask(code: str, **variables: str) -> tuple[str, str]:
    """What a new Python prints: torch reads ``CXX`` when it is imported."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    cpp_compiler.cache_clear()
    yield
    cpp_compiler.cache_clear()


def test_a_compiler_with_arguments_is_none_to_torch_and_code_runs_uncompiled(tmp_path: Path) -> None:
    """Not the c++ that lies beside it: torch would not take it."""
    out, err = ask(ADD, CXX="ccache g++")
    assert out == "False [0.0, 0.0]"
    assert "CXX='ccache g++' is no compiler that torch can call" in err
    assert "Traceback" not in err


def test_a_compiler_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    broken = program(tmp_path, "c++", '[ "$1" = --version ] || { echo "Python.h: no such file" >&2; exit 1; }')
    out, err = ask(ASK, CXX=str(broken))
    assert out == "None"
    assert f"the C++ compiler {broken} does not work: Python.h: no such file" in err


def test_without_cxx_it_is_gxx_alone(tmp_path: Path) -> None:
    """As torch, which does not look for c++ or clang++."""
    program(tmp_path, "c++", "exit 0")
    program(tmp_path, "clang++", "exit 0")
    variables = {name: value for name, value in os.environ.items() if name != "CXX"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, env={**variables, "PATH": str(tmp_path)}
    )
    assert done.stdout.strip() == "None", done.stderr


def test_a_compile_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"file/cache: cannot be written: .*; torch keeps compiled code there: name"):
        check_compile_cache()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "new"))
    check_compile_cache()
    assert not list((tmp_path / "new").iterdir())
