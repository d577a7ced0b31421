"""Bytes: peaks against known allocations, what a module holds, and an allocator that keeps its pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fgq_bench.latency import memory
from fgq_bench.latency.allocator import keep_freed_memory, release_freed_memory
from fgq_bench.latency.memory import PeakMemory, peak_memory, resident_by_component, resident_bytes

CPU = torch.device("cpu")
MEGA = 2**20
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
FAULTS = """
import resource, torch
from fgq_bench.latency.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(10_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory(), faults() and faults())
"""


def test_kept_memory_does_not_fault_again() -> None:
    """In a process of its own, as the setting stays."""
    if not sys.platform.startswith("linux"):
        pytest.skip("glibc only")
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, worked, after = run.stdout.split()
    if worked == "False":
        pytest.skip("the C library is not glibc")
    assert int(before) > 100 and int(after) < 10


def test_without_glibc_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory() and not release_freed_memory()


def _peak(megabytes: int) -> PeakMemory:
    got = peak_memory(lambda: torch.ones(megabytes * MEGA, dtype=torch.uint8), CPU)
    if got is None:
        pytest.skip("this kernel does not reset the peak resident set")
    return got


def test_cpu_peak_is_what_the_call_touches_even_where_memory_was_used_before() -> None:
    torch.ones(400 * MEGA, dtype=torch.uint8)  # an earlier, higher peak
    small, large = _peak(64), _peak(192)
    for got, expected in ((small, 64), (large, 192)):  # the process frees or takes a little of its own meanwhile
        assert (expected - 8) * MEGA <= got.allocated < (expected + 16) * MEGA
    assert small.reserved > small.allocated


@pytest.mark.parametrize("obstacle", ["no file", "reset without effect"])
def test_cpu_peak_is_unknown_rather_than_wrong(obstacle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def resident(field: str) -> int:
        if obstacle == "no file":
            raise FileNotFoundError("/proc/self/status")
        return {"VmRSS": 100 * MEGA, "VmHWM": 200 * MEGA}[field]

    monkeypatch.setattr(memory, "_resident", resident)
    calls: list[int] = []
    assert peak_memory(lambda: calls.append(1), CPU) is None and calls == [1]


class Holder(nn.Module):
    """4 KiB of weights used twice, a view of them, a packed tensor, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(32, 32, bias=False)
        self.second = nn.Linear(32, 32, bias=True)
        self.second.weight = self.first.weight
        self.register_buffer("view", self.first.weight.detach()[:4])
        self.register_buffer("packed", torch.zeros(16, 8).to_mkldnn())
        self.register_buffer("codes", torch.zeros(10, dtype=torch.int8))
        self.register_buffer("planned", torch.zeros(10**6, device="meta"))


def test_shared_storage_counts_once_and_components_add_up() -> None:
    parts = resident_by_component(Holder(), lambda name: name.split(".")[0])
    assert parts == {"first": 4096, "second": 128, "view": 0, "packed": 512, "codes": 10, "planned": 0}
    assert resident_bytes(Holder()) == sum(parts.values())


def test_wrapped_tensors_count_what_is_inside() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    module = nn.Module()
    module.register_buffer("pair", TwoTensor(torch.zeros(8), torch.ones(8)))
    assert resident_bytes(module) == 64


@needs_cuda
def test_cuda_peak_is_absolute_and_forgets_earlier_peaks() -> None:
    device = torch.device("cuda")
    held = torch.zeros(64 * MEGA, dtype=torch.uint8, device=device)
    torch.zeros(512 * MEGA, dtype=torch.uint8, device=device)
    got = peak_memory(lambda: torch.zeros(32 * MEGA, dtype=torch.uint8, device=device), device)
    assert got is not None and 96 * MEGA <= got.allocated < 512 * MEGA and got.reserved >= got.allocated
    del held
