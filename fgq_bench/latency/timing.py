"""Times of several variants of one case, interleaved in one run, and how they compare."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from fgq_bench.errors import UserError
from fgq_bench.latency.clocks import Call, Clock, clock_for, describe

WARMUP_SHARE = 0.1  # of the budget's seconds, over all variants
WARMUP_CALLS = (
    2,
    10,
)  # at least (where they are not ``LONG``) and at most: the first compiles and packs, the second may still record
LONG = 6.0  # seconds
RESAMPLES = 2000
CPU_OPERATORS = 8  # of the many ATen operators in a CPU profile, those with most time


@dataclass(frozen=True)
class Budget:
    """When to stop: after ``max_rounds`` or once ``seconds`` of rounds are used up, but not before ``min_rounds``.

    A round times every variant once. Warm-up comes on top: one call of each variant, more within a tenth of
    ``seconds``.
    """

    min_rounds: int = 3
    max_rounds: int = 50
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_rounds <= self.max_rounds or not self.seconds > 0:
            raise UserError(f"{self}: needs 1 <= min_rounds <= max_rounds and seconds > 0")


@dataclass(frozen=True)
class Samples:
    """Raw times of one variant in seconds, one per round and in their order; none, with ``error``, if it failed."""

    seconds: tuple[float, ...]
    error: str | None = None

    def quantile(self, q: float) -> float:
        """The ``q``-quantile in seconds, linearly interpolated; raises ValueError if the variant failed."""
        if not self.seconds:
            raise ValueError(f"no samples: {self.error}")
        return float(np.quantile(self.seconds, q))

    @property
    def median(self) -> float:
        """Median in seconds."""
        return self.quantile(0.5)

    @property
    def p20(self) -> float:
        """20th percentile in seconds."""
        return self.quantile(0.2)

    @property
    def p80(self) -> float:
        """80th percentile in seconds."""
        return self.quantile(0.8)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one variant is as another, with a 95 % interval."""

    value: float
    low: float
    high: float


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's cycle collector must not start in the middle of a timed call."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _warm_up(clock: Clock, call: Call, seconds: float) -> None:
    """Call until ``seconds`` are used up, not counting the first call, within ``WARMUP_CALLS``.

    A first call longer than ``LONG`` is the only one: what it compiled or packed is a small part of it.
    """
    least, most = WARMUP_CALLS
    if clock.time(call) > LONG:
        return
    start = clock.now()
    for count in range(1, most):
        if count >= least and clock.now() - start >= seconds:
            break
        clock.time(call)


def measure(
    variants: Mapping[str, Call],
    device: torch.device,
    budget: Budget,
    graphs: bool = False,
    clock: Clock | None = None,
) -> dict[str, Samples]:
    """Time the variants of one case in rounds; in every round each is called once, in a shuffled order (fixed seed).

    So clock speed, temperature and neighbours hit all alike, and the samples of a round belong together. A variant
    that raises in capture, warm-up or a round keeps its error in place of samples; the others go on. ``graphs``
    (CUDA only) times replays of CUDA graphs. Grad mode and inference mode are the caller's. ``clock`` is for tests.
    """
    clock = clock or clock_for(device, graphs)
    errors: dict[str, str] = {}
    ready: dict[str, Call] = {}
    times: dict[str, list[float]] = {name: [] for name in variants}

    def attempt(name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            errors[name] = describe(error)
        if name in errors:  # outside the handler: the traceback, which holds the tensors, is gone
            ready.pop(name, None)
            clock.recover()

    def prepare(name: str) -> None:
        ready[name] = clock.prepared(variants[name])
        _warm_up(clock, ready[name], WARMUP_SHARE * budget.seconds / len(variants))

    def time_once(name: str) -> None:
        times[name].append(clock.time(ready[name]))

    for name in variants:
        attempt(name, partial(prepare, name))

    shuffler = np.random.default_rng(0)
    start = clock.now()
    for done in range(budget.max_rounds):
        if not ready or (done >= budget.min_rounds and clock.now() - start >= budget.seconds):
            break
        for name in shuffler.permutation(list(ready)).tolist():
            with _no_collection():
                attempt(name, partial(time_once, name))
    return {name: Samples(() if name in errors else tuple(times[name]), errors.get(name)) for name in variants}


def ratio(baseline: Samples, other: Samples) -> Ratio:
    """Median of ``baseline`` over median of ``other``: above 1, ``other`` is the faster.

    The interval is a percentile bootstrap over rounds, both variants resampled together (fixed seed). With fewer than
    about ten rounds it is too narrow. Raises ValueError if either failed.
    """
    value = baseline.median / other.median
    rounds = min(len(baseline.seconds), len(other.seconds))
    picks = np.random.default_rng(0).integers(rounds, size=(RESAMPLES, rounds))
    medians = [np.median(np.array(samples.seconds)[picks], axis=1) for samples in (baseline, other)]
    low, high = np.quantile(medians[0] / medians[1], (0.025, 0.975))
    return Ratio(value, float(low), float(high))


def kernel_names(call: Call, device: torch.device) -> list[str]:
    """What ran in one call, longest total time first: CUDA kernels and copies, or the CPU's ``CPU_OPERATORS`` slowest.

    Times of this call are the profiler's and go nowhere. Warm ``call`` up first, or its compilation is in the list.
    """
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, acc_events=True) as record:  # without: a warning in torch 2.11
        call()
        if cuda:
            torch.cuda.synchronize(device)
    times = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in record.key_averages()
        if event.device_type.name.lower() == device.type and not event.is_user_annotation
    }
    names = sorted((name for name in times if times[name] > 0), key=lambda name: -times[name])
    return names if cuda else names[:CPU_OPERATORS]
