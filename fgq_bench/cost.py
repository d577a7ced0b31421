"""What a quantization costs: made from scratch in a process of its own, with its time by stage and its peak memory.

Counted is everything between a loaded float model and its quantized counterpart in memory: reading the calibration
clips, what methods otherwise share (statistics, Fisher information), training, rounding, static scales, and compiling
the code that trains. Not counted: starting Python, loading the model, opening the data sets, saving the artefact.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgq_bench import fisher
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, Clip, Manifest
from fgq_bench.compiling import compile_model
from fgq_bench.latency.breakdown import OTHER, annotated, breakdown
from fgq_bench.latency.memory import peak_memory
from fgq_bench.loaders.scene import Scene
from fgq_bench.numerics import timed_on
from fgq_bench.planning import LoadedModel, Request, Run
from fgq_bench.processes import in_fresh_process
from fgq_bench.quant.scheme import Scheme
from fgq_bench.registry import Method
from fgq_bench.results import Result, content_key
from fgq_bench.scratch import scratch_folder
from fgq_bench.torch_compile import is_compiling

ALGORITHM = 1  # raised when a stored number would come out differently for another reason than the machine
CLIPS, STATISTICS, COMPILATION, METHOD = "clips", "statistics", "compilation", "method"
STAGES = (CLIPS, STATISTICS, fisher.FOLDER, COMPILATION, METHOD)  # their seconds add up to the total
CPU = torch.device("cpu")
Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Quantization:
    """One quantization, complete enough to be sent to another process."""

    model: str
    checkpoint: str | None
    device: str
    threads: int  # of torch on a CPU
    compiled: bool  # whether torch.compile is used
    method: Method
    scheme: Scheme
    scope: str
    seed: int
    header: dict[str, Any]  # identity, as the artefact's
    manifest: Manifest | None  # None: not calibrated
    roots: dict[str, Path]

    @classmethod
    def of(cls, run: Run, request: Request) -> Quantization:
        """That of ``run``, which ``request`` asks for; threads and use of torch.compile are this process's."""
        return cls(
            request.model, request.checkpoint, request.device, torch.get_num_threads(), is_compiling(), run.method,
            run.scheme, run.scope, run.seed, run.compilation(), None if run.clips is None else run.clips.manifest,
            request.roots,
        )  # fmt: skip

    def empty_result(self) -> Result:
        """The result that it will have: its key is that of the artefact, the machine and torch."""
        conditions = {
            **self.header, "device": timed_on(self.device, self.threads), "torch": torch.__version__, "compiled": self.compiled,
            "algorithm": ALGORITHM,
        }  # fmt: skip
        return Result("calibration", content_key(conditions), conditions, "ok")


class _Calibration(Calibration):
    """Captures are one stage, and so is whatever else is made once for all methods, by its folder."""

    def capture(
        self, targets: list[str], advance: Callable[[str], None] = lambda stage: None, patches_only: bool = False
    ) -> None:
        with annotated(STATISTICS):
            super().capture(targets, advance, patches_only)

    def obtain(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        with annotated(name.partition("/")[0]):
            return super().obtain(name, make)


class _Clips(CalibrationClips):
    """Reading a clip is a stage, in whichever stage it is asked for."""

    def _read(self, clip: Clip) -> Scene:
        with annotated(CLIPS):
            return super()._read(clip)


@contextmanager
def _compilation_labelled() -> Iterator[None]:
    """Within the context, what torch.compile takes is a stage."""
    from torch._dynamo.callback import callback_handler

    label = annotated(COMPILATION)
    started = callback_handler.register_start_callback(lambda _: label.__enter__())
    ended = callback_handler.register_end_callback(lambda _: label.__exit__())
    try:
        yield
    finally:
        callback_handler.remove_start_callback(started)
        callback_handler.remove_end_callback(ended)


def _cpu_seconds() -> float:
    """User and system time of this process, all threads, and of the compilers that it has run."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _with_peaks(call: Callable[[], object], device: torch.device) -> dict[str, int]:
    """Run ``call``; its peak bytes: host memory above what was held before, all memory of the device."""
    peaks: dict[str, int] = {}

    def on_device() -> None:
        memory = peak_memory(call, device)
        assert memory is not None  # CUDA always tells
        peaks["peak_device_bytes"] = memory.allocated

    host = peak_memory(call if device.type == "cpu" else on_device, CPU)
    return peaks if host is None else {"peak_host_bytes": host.allocated, **peaks}


def measure(asked: Quantization, folder: Path) -> Metrics:
    """Quantize from scratch and say what it cost, in seconds and bytes; raises what quantizing raises.

    For a process of its own, whose settings it changes. ``folder``, empty, is for what calibrated methods share and
    for torch's compiled code.
    ``cpu_seconds`` is user plus system time. ``peak_host_bytes``, where the kernel tells, is resident memory above what
    the loaded model left; ``peak_device_bytes`` (CUDA only) are torch's tensors there, the model's included.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")
    torch._dynamo.config.disable = not asked.compiled
    torch.set_num_threads(asked.threads)
    loaded = LoadedModel.load(Request([], [], [], model=asked.model, checkpoint=asked.checkpoint, device=asked.device))
    data = None
    if asked.manifest is not None:
        clips = _Clips(asked.manifest, asked.roots)
        data = _Calibration(loaded.model, loaded.hash, clips, loaded.spec.compute_dtype, folder / "shared")
    times: dict[str, float] = {}

    def quantize() -> None:
        with _compilation_labelled():
            compile_model(asked.method, loaded.model, asked.scheme, asked.scope, asked.seed, asked.header, data)

    def timed() -> None:
        began = _cpu_seconds()
        times.update(breakdown(quantize, loaded.model.device, passes=1, warm=True))
        times["cpu"] = _cpu_seconds() - began

    peaks = _with_peaks(timed, loaded.model.device)
    cpu, times[METHOD] = times.pop("cpu"), times.pop(OTHER)
    seconds = {"seconds": sum(times.values()), "cpu_seconds": cpu}
    seconds |= {f"{stage}_seconds": times.get(stage, 0.0) for stage in STAGES}
    return {
        **{name: {"value": value, "unit": "seconds"} for name, value in seconds.items()},
        **{name: {"value": value, "unit": "bytes"} for name, value in peaks.items()},
    }


def measure_from_scratch(asked: Quantization) -> Metrics:
    """``measure`` in a fresh process with an empty folder, which goes when it is done."""
    with scratch_folder() as folder:
        return in_fresh_process(measure, asked, folder)
