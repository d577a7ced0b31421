"""Peaks and shares: the arithmetic of the roofline, and measured peaks that do not contradict each other."""

from __future__ import annotations

import math

import pytest
import torch

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


def test_peaks_take_the_fastest_call_and_none_for_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"bf16": Samples((3.0, 2.0, 4.0)), "int8": Samples((), "RuntimeError"), "copy": Samples((0.5, 0.25))}
    monkeypatch.setattr(roofline, "measure", lambda *_: times)
    monkeypatch.setattr(roofline, "SIDE", {"cpu": 10})
    monkeypatch.setattr(roofline, "COPIED", {"cpu": 100})
    got = peaks(torch.device("cpu"), 1.0)
    assert (got.bf16_flops, got.int8_ops, got.bandwidth) == (1000.0, None, 800.0)


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
