"""Peaks and shares: the arithmetic of the roofline, and measured peaks that do not contradict each other."""

from __future__ import annotations

import math

import pytest
import torch

from fgq_bench.kernels.registry import find_backend
from fgq_bench.latency import roofline
from fgq_bench.latency.roofline import peaks, share
from fgq_bench.latency.timing import Samples

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize(
    ("flops", "traffic", "seconds", "expected"),
    [
        (1e12, 1e9, 0.02, 0.5),  # intensity 1000: attainable is the peak, 1e14
        (1e12, 1e12, 2.0, 0.5),  # intensity 1: attainable is the bandwidth, 1e12
        (1e12, 1e10, 0.01, 1.0),  # on the ridge
        (0.0, 1e12, 4.0, 0.25),  # a copy
    ],
    ids=["compute-bound", "memory-bound", "ridge", "no arithmetic"],
)
def test_share_is_achieved_over_attainable(flops: float, traffic: float, seconds: float, expected: float) -> None:
    peak, bandwidth = 1e14, 1e12
    got = share(flops, traffic, seconds, peak, bandwidth)
    assert math.isclose(got, expected)
    if flops:
        assert math.isclose(got, flops / seconds / min(peak, bandwidth * flops / traffic))


def test_peaks_take_the_fastest_call_of_what_runs_and_none_where_nothing_does(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {
        "bf16 torch.matmul": Samples((), "RuntimeError"),
        "int8 torch._int_mm": Samples((3.0, 2.0, 4.0)),
        "int8 cpu-int8": Samples((1.0, 1.5)),
        "bandwidth copy": Samples((0.5, 0.25)),
        "bandwidth negation": Samples((), "RuntimeError"),
    }
    monkeypatch.setattr(roofline, "measure", lambda calls, *_: {name: times[name] for name in calls})
    monkeypatch.setattr(roofline, "SIDE", {"cpu": 16})
    monkeypatch.setattr(roofline, "COPIED", {"cpu": 128})
    got = peaks(torch.device("cpu"), 1.0, find_backend("cpu").classes())
    assert (got.bf16_flops, got.int8_ops, got.bandwidth) == (None, 8192.0, 1024.0)
    assert (
        got.kernels["int8"] != "torch._int_mm"
        and got.kernels["bandwidth"] == "aten::copy_"
        and "bf16" not in got.kernels
    )


def test_peaks_of_this_cpu_are_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIDE", {"cpu": 256})
    monkeypatch.setattr(roofline, "COPIED", {"cpu": 2**22})
    got = peaks(torch.device("cpu"), 0.2)
    assert all(rate is not None and rate > 0 for rate in (got.bf16_flops, got.int8_ops, got.bandwidth))


@needs_cuda
def test_peaks_of_a_gpu_are_those_of_a_gpu() -> None:
    got = peaks(torch.device("cuda"), 1.0)
    assert got.bf16_flops is not None and got.bf16_flops > 1e13
    assert got.bandwidth is not None and got.bandwidth > 1e11
