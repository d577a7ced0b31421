"""The CUTLASS product: how its library is built and found, which tile runs, its machine code, and (on Hopper) its values."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.kernels.cutlass import build
from fgq_bench.kernels.cutlass.int8_gemm import int8_linear, int8_sums
from fgq_bench.kernels.cutlass.variants import EXACT, SMALL, VARIANTS, WIDE, Choice, pick

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)
COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo "Cuda compilation tools, release 13.0, V13.0.1"; exit 0; fi
echo "$@" >> "$FAKE_LOG"
if [ -n "$FAKE_FAILS" ]; then echo "nvcc fatal: unsupported"; exit 1; fi
while [ "$1" != -o ]; do shift; done
echo library > "$2"
"""


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvcc that only notes what it was asked, and headers that are there; returns its notes."""
    script = tmp_path / "bin" / "nvcc"
    script.parent.mkdir()
    script.write_text(COMPILER)
    script.chmod(0o755)
    header = tmp_path / "site" / "cutlass_library" / "source" / "include" / "cutlass" / "cutlass.h"
    header.parent.mkdir(parents=True)
    header.touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.delenv(build.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "log"


def test_it_is_built_once(compiler: Path, tmp_path: Path) -> None:
    assert build.found() is None and build.missing() is None
    made = build.build()
    assert made.parent == tmp_path / "cache" / "fgq-bench" / "kernels"
    assert re.fullmatch(r"cutlass-sm_90a-[0-9a-f]{16}-nvcc13\.0\.1\.so", made.name)
    assert list(made.parent.iterdir()) == [made], "nothing half made is left"
    calls = compiler.read_text().splitlines()
    assert len(calls) == len(VARIANTS) + 1
    assert sum("-DFGQ_TOKENS=64 -DFGQ_CHANNELS=256 -DFGQ_CLUSTER=2" in call for call in calls) == 1
    assert build.build() == made and len(compiler.read_text().splitlines()) == len(calls)


def test_a_failed_build_is_one_line_and_is_not_repeated(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAILS", "1")
    with pytest.raises(UserError, match=r"cannot be built: its build failed, \S+\.log says why \(delete it") as raised:
        build.build()
    assert "\n" not in str(raised.value)
    log = next(build.folder().iterdir())
    assert "nvcc fatal: unsupported" in log.read_text()
    assert str(log) in (build.missing() or "")


def test_a_library_from_another_machine_is_taken(
    compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build.build()
    carried = tmp_path / "carried" / made.name.replace("13.0.1", "12.9")
    carried.parent.mkdir()
    made.rename(carried)
    assert build.found() is None, "elsewhere"
    monkeypatch.setenv(build.VARIABLE, str(carried.parent))
    assert build.found() == carried == build.build()
    monkeypatch.setattr(build, "nvcc", lambda: None)
    assert build.found() == carried and build.missing() is None
    carried.unlink()
    assert build.missing() == f"no nvcc to build it with, and nothing built in {carried.parent}"


def test_headers_are_asked_for(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "headers", lambda: None)
    assert build.missing() == "no CUTLASS headers to build it with: pip install 'fgq-bench[cutlass]'"


def test_the_table() -> None:
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    assert pick(13740, 1024, torch.bfloat16) == Choice(WIDE)
    assert pick(1374, 3072, torch.bfloat16) == Choice(WIDE)
    assert pick(1374, 1024, torch.bfloat16) == Choice(SMALL), "88 wide tiles leave multiprocessors without work"
    assert pick(13740, 1024, torch.float32) == Choice(EXACT)


def test_errors_tell_what_is_wrong() -> None:
    codes, weight, scale = torch.ones(3, 32, dtype=torch.int8), torch.ones(16, 32, dtype=torch.int8), torch.ones(16)
    with pytest.raises(ValueError, match=r"multiples of 16.*16 x 24"):
        int8_sums(codes[:, :24].contiguous(), weight[:, :24].contiguous())
    with pytest.raises(ValueError, match="codes must be contiguous"):
        int8_sums(torch.ones(32, 3, dtype=torch.int8).T, weight)
    with pytest.raises(ValueError, match=r"outputs are torch.bfloat16, torch.float32, not torch.float16"):
        int8_linear(codes, scale[:3], weight, scale, None, torch.float16)
    with pytest.raises(ValueError, match=r"64x256_c2_bf16 does not write torch.float32"):
        int8_linear(codes, scale[:3], weight, scale, None, torch.float32, Choice(WIDE))
    assert int8_linear(codes[:0], scale[:0], weight, scale, None, torch.bfloat16).shape == (0, 16)


def assert_asynchronous(library: Path) -> None:
    """Integer warpgroup products of every variant, several in flight; no spills; no fused multiply-add."""
    triton = pytest.importorskip("triton", reason="its wheel brings the disassembler")
    tool = triton.knobs.nvidia.cuobjdump.path
    said = [
        subprocess.run([tool, flag, str(library)], capture_output=True, text=True, check=True).stdout
        for flag in ("-sass", "-res-usage")
    ]
    functions = said[0].split("Function :")[1:]
    assert len(functions) == len(VARIANTS)
    for text in functions:
        names = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*([A-Z0-9.]+)", text, re.MULTILINE)
        products, waits = (sum(name.startswith(kind) for name in names) for kind in ("IGMMA", "WARPGROUP.DEPBAR"))
        assert products >= 8 and waits < products
        assert not {name.split(".")[0] for name in names} & {"FFMA", "LDL", "STL"}
    assert set(re.findall(r"STACK:(\d+)", said[1])) == {"0"} == set(re.findall(r"LOCAL:(\d+)", said[1]))


def test_machine_code() -> None:
    library = build.found()
    if library is None:
        pytest.skip(f"not built here: {sys.executable} -m {build.__name__} (needs nvcc and fgq-bench[cutlass])")
    assert_asynchronous(library)


@pytest.mark.slow
def test_it_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if build.nvcc() is None or build.headers() is None:
        pytest.skip("needs nvcc and fgq-bench[cutlass]")
    monkeypatch.setenv(build.VARIABLE, str(tmp_path))
    assert_asynchronous(build.build())


@pytest.mark.skipif(not HOPPER, reason="sm_90a code needs an H100 or H200")
@pytest.mark.parametrize("size", [(1, 16, 16), (300, 272, 1024), (1374, 1024, 4096), (4097, 3072, 1040)], ids=str)
def test_values_equal_the_formula(size: tuple[int, int, int]) -> None:
    tokens, channels, width = size
    if (why := build.missing()) is not None:
        pytest.skip(why)
    torch.manual_seed(0)
    codes, weight = (torch.randint(-128, 128, (n, width), dtype=torch.int8, device="cuda") for n in (tokens, channels))
    scale, weight_scale = torch.rand(tokens, device="cuda") / 100, torch.rand(channels, device="cuda")
    exact = codes.double() @ weight.double().T
    assert torch.equal(int8_sums(codes, weight), exact.float())
    for bias, swizzle in itertools.product((None, torch.randn(channels, device="cuda")), (1, 4)):
        y = exact.float() * weight_scale * scale[:, None]
        y = y if bias is None else y + bias

        def run() -> list[Tensor]:
            return [
                int8_linear(codes, scale, weight, weight_scale, bias, dtype, Choice(variant, swizzle))  # noqa: B023
                for variant in VARIANTS
                for dtype in [torch.float32 if variant is EXACT else torch.bfloat16]
            ]

        graph, eager = torch.cuda.CUDAGraph(), run()
        with torch.cuda.graph(graph):
            captured = run()
        graph.replay()
        for found in (*eager, *captured):
            assert torch.equal(found, y.to(found.dtype))
