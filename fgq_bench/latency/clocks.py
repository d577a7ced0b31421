"""How one call is timed: a wall clock on the CPU; events, L2 flush and graph replay on a CUDA device."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable
from typing import Protocol

import torch

from fgq_bench.errors import UserError

FLUSH_BYTES = 256 * 2**20  # written in about 80 us on an H100: also the head start in which Python launches the call
CAPTURE_WARMUP = 3  # eager calls on the side stream before a capture: autotuning, cuBLAS handles, lazily packed weights

Call = Callable[[], object]


def describe(error: Exception) -> str:
    """Type and first line of the message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}".rstrip(": ")


def _noting(call: Call, causes: list[str]) -> None:
    """Call, and append to ``causes`` what it raised."""
    try:
        call()
    except Exception as error:
        causes.append(describe(error))
        raise


class Clock(Protocol):
    """What ``timing.measure`` asks of a device."""

    def now(self) -> float:
        """Wall time in seconds, for the budget."""

    def prepared(self, call: Call) -> Call:
        """What is timed in place of ``call``: itself, or a replay of its CUDA graph. Raises what ``call`` raises."""

    def time(self, call: Call) -> float:
        """Seconds of one call that has finished on the device; its result is freed outside. Raises what ``call`` raises."""

    def recover(self) -> None:
        """Free what a failed call left behind."""


class CpuClock:
    """``time.perf_counter_ns`` around the call."""

    def now(self) -> float:
        """Wall time in seconds."""
        return time.perf_counter()

    def prepared(self, call: Call) -> Call:
        """``call`` itself."""
        return call

    def time(self, call: Call) -> float:
        """Seconds of one call."""
        start = time.perf_counter_ns()
        result = call()
        end = time.perf_counter_ns()
        del result
        return (end - start) / 1e9

    def recover(self) -> None:
        """Collect reference cycles, which may hold tensors of the failed call."""
        gc.collect()


class CudaClock:
    """CUDA events around the call on the current stream, L2 flushed before it, the device idle before and after.

    The time is what the stream sees: where Python launches kernels more slowly than they run, its waits are inside.
    ``graphs=True`` replays a CUDA graph instead, which leaves only the device's time. Graphs share one memory pool, as
    they are never replayed at the same time and nobody reads their outputs.
    """

    def __init__(self, device: torch.device, graphs: bool = False) -> None:
        self.device = device
        self.graphs = graphs
        with torch.cuda.device(device):
            l2 = torch.cuda.get_device_properties(device).L2_cache_size
            self._flush = torch.empty(max(FLUSH_BYTES, 2 * l2), dtype=torch.uint8, device=device)
            self._start = torch.cuda.Event(enable_timing=True)
            self._end = torch.cuda.Event(enable_timing=True)
            self._side = torch.cuda.Stream()
            self._pool = torch.cuda.graph_pool_handle()

    def now(self) -> float:
        """Wall time in seconds."""
        return time.perf_counter()

    def prepared(self, call: Call) -> Call:
        """``call``, or with ``graphs`` the replay of its graph; RuntimeError with the first cause if capture fails."""
        if not self.graphs:
            return call
        with torch.cuda.device(self.device):
            self._side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._side):
                for _ in range(CAPTURE_WARMUP):
                    call()
            torch.cuda.synchronize()
            causes: list[str] = []  # ending a broken capture raises too and hides why it broke
            try:
                graph = self._captured(lambda: _noting(call, causes))
            except Exception as error:
                raise RuntimeError(f"CUDA graph capture: {(causes or [describe(error)])[0]}") from None
            torch.cuda.synchronize()
        return graph.replay

    def _captured(self, call: Call) -> torch.cuda.CUDAGraph:
        """The graph of one call; raises what capturing raises, with the current stream restored."""
        graph = torch.cuda.CUDAGraph()
        # The outer context restores the stream: torch.cuda.graph does not when ending the capture raises.
        with torch.cuda.stream(self._side), torch.cuda.graph(graph, pool=self._pool, stream=self._side):
            call()
        return graph

    def time(self, call: Call) -> float:
        """Seconds between the events before and after one call; errors of its kernels surface here."""
        with torch.cuda.device(self.device):
            self._flush.zero_()
            self._start.record()
            result = call()
            self._end.record()
            self._end.synchronize()
            del result
            return float(self._start.elapsed_time(self._end)) / 1e3

    def recover(self) -> None:
        """Give cached memory back; a device that an illegal access has broken stays broken, and every call says so.

        A broken capture leaves torch's random generator in capture mode, in which every later ``randn`` raises; a
        capture that succeeds ends it. The pools are new ones: a pool may still count the broken capture, and torch
        does not take one again whose graphs are all gone.
        """
        gc.collect()
        with contextlib.suppress(RuntimeError), torch.cuda.device(self.device):
            torch.cuda.empty_cache()
            if self.graphs:
                self._pool = torch.cuda.graph_pool_handle()
                self._captured(self._flush[:1].zero_)
                self._pool = torch.cuda.graph_pool_handle()


def clock_for(device: torch.device, graphs: bool = False) -> Clock:
    """The clock of ``device``; raises UserError for graphs on a CPU and for devices that are neither CPU nor CUDA."""
    if device.type == "cuda":
        return CudaClock(device, graphs)
    if device.type != "cpu":
        raise UserError(f"latency is measured on cpu and cuda devices, not on {device.type!r}")
    if graphs:
        raise UserError("CUDA graphs need a cuda device")
    return CpuClock()
