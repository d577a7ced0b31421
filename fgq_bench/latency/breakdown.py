"""Where the time of a forward pass goes, by label, and what speeding one part up can give at most."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import nn

OTHER = "other"
P = ParamSpec("P")
T = TypeVar("T")


class Stamps(Protocol):
    """A clock that is read now and evaluated later, so that reading it does not wait for the device."""

    def read(self) -> Any:
        """A point in time."""

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two points; called after ``finish``."""

    def finish(self) -> None:
        """Wait until every point has passed."""


class CpuStamps:
    """``time.perf_counter_ns``."""

    def read(self) -> int:
        """Nanoseconds."""
        return time.perf_counter_ns()

    def seconds(self, start: int, end: int) -> float:
        """Seconds between two readings."""
        return (end - start) / 1e9

    def finish(self) -> None:
        """Nothing to wait for."""


class CudaStamps:
    """Events on the current stream of ``device``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        torch.cuda.synchronize(device)

    def read(self) -> torch.cuda.Event:
        """An event at the end of what is queued."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Seconds between two events."""
        return float(start.elapsed_time(end)) / 1e3

    def finish(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self.device)


class _Recorder:
    """Points in time at which the innermost label changes; the time up to the next point belongs to that label."""

    def __init__(self, stamps: Stamps) -> None:
        self.stamps = stamps
        self.open = [OTHER]
        self.points: list[tuple[str, Any]] = [(OTHER, stamps.read())]

    def enter(self, label: str) -> None:
        self.open.append(label)
        self.points.append((label, self.stamps.read()))

    def leave(self) -> None:
        self.open.pop()
        self.points.append((self.open[-1], self.stamps.read()))

    def totals(self) -> dict[str, float]:
        """Exclusive seconds by label."""
        self.points.append((OTHER, self.stamps.read()))
        self.stamps.finish()
        total: defaultdict[str, float] = defaultdict(float)
        for (label, start), (_, end) in zip(self.points, self.points[1:], strict=False):
            total[label] += self.stamps.seconds(start, end)
        return dict(total)


_recorder: _Recorder | None = None


class annotated:
    """``with annotated("rotation"):`` or ``@annotated("rotation")``: time inside belongs to that label.

    Costs a fraction of a microsecond while no breakdown is taken. Compiled code does not see it: under torch.compile
    it traces to nothing, without a guard, and its time belongs to the label around the compiled call.
    """

    def __init__(self, label: str) -> None:
        self.label = label

    def __enter__(self) -> None:
        if not torch.compiler.is_dynamo_compiling() and _recorder is not None:
            _recorder.enter(self.label)

    def __exit__(self, *details: object) -> None:
        if not torch.compiler.is_dynamo_compiling() and _recorder is not None:
            _recorder.leave()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """As a decorator."""
        label = self.label  # Dynamo enters only context managers made inside the compiled code

        @wraps(function)
        def labelled(*arguments: P.args, **options: P.kwargs) -> T:
            with annotated(label):
                return function(*arguments, **options)

        return labelled


@contextmanager
def annotate_modules(model: nn.Module, label_of: Callable[[str, nn.Module], str | None]) -> Iterator[None]:
    """Within the context, time in the forward of a module belongs to ``label_of(name, module)``; None leaves it alone.

    Works by hooks: code that uses a module's weight without calling the module is not seen.
    """
    handles = []
    try:
        for name, module in model.named_modules():
            label = label_of(name, module)
            if label is None:
                continue
            scope = annotated(label)
            handles.append(module.register_forward_pre_hook(lambda *_, scope=scope: scope.__enter__()))
            handles.append(module.register_forward_hook(lambda *_, scope=scope: scope.__exit__(), always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _one_pass(call: Callable[[], object], stamps: Stamps) -> dict[str, float]:
    """Exclusive seconds by label of one call."""
    global _recorder
    if _recorder is not None:
        raise RuntimeError("a breakdown is being taken already")
    _recorder = _Recorder(stamps)
    try:
        call()
        return _recorder.totals()
    finally:
        _recorder = None


def breakdown(
    call: Callable[[], object],
    device: torch.device,
    passes: int = 5,
    stamps: Stamps | None = None,
    *,
    warm: bool = False,
) -> dict[str, float]:
    """Exclusive seconds by innermost label of one eager pass, the one with the median total of ``passes``.

    Time outside labels is "other"; the values sum to the total. One pass before them is not counted, unless ``call``
    is ``warm`` already. On CUDA the time
    is that of the current stream, waits for Python's launches inside: it splits device time only where kernels run
    longer than their launch. A replayed CUDA graph is one label. ``stamps`` is for tests.
    """
    stamps = stamps or (CudaStamps(device) if device.type == "cuda" else CpuStamps())
    if not warm:
        call()
        stamps.finish()
    taken = sorted((_one_pass(call, stamps) for _ in range(passes)), key=lambda times: sum(times.values()))
    return taken[(passes - 1) // 2]


def amdahl(shares: Mapping[str, float], faster: Mapping[str, float]) -> float:
    """How many times as fast the whole is if part ``label`` runs ``faster[label]`` times as fast (inf allowed).

    ``shares`` are times or fractions of them, as ``breakdown`` returns. Raises ValueError for a label without a share
    and for a factor that is not positive.
    """
    unknown = sorted(set(faster) - set(shares))
    if unknown or not all(factor > 0 for factor in faster.values()):
        raise ValueError(f"faster={dict(faster)}: needs positive factors of {', '.join(shares)}")
    left = sum(part / faster.get(label, 1.0) for label, part in shares.items())
    return sum(shares.values()) / left if left else math.inf
