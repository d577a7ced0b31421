"""Interleaved timing: order, budgets, failures that stay alone, and the statistics of a ratio."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fgq_bench.errors import UserError
from fgq_bench.latency.clocks import Call, CpuClock, clock_for
from fgq_bench.latency.timing import Budget, Samples, kernel_names, measure, ratio

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class FakeClock:
    """Time passes only when a variant says so."""

    def __init__(self) -> None:
        self.at = 0.0
        self.calls: list[str] = []
        self.recovered = 0

    def now(self) -> float:
        return self.at

    def prepared(self, call: Call) -> Call:
        return call

    def time(self, call: Call) -> float:
        start = self.at
        call()
        return self.at - start

    def recover(self) -> None:
        self.recovered += 1

    def variant(self, name: str, seconds: Callable[[], float]) -> Call:
        """A call that takes ``seconds()``."""

        def call() -> None:
            self.calls.append(name)
            self.at += seconds()

        return call

    def constant(self, **seconds: float) -> dict[str, Call]:
        """Variants of constant duration."""
        return {name: self.variant(name, lambda value=value: value) for name, value in seconds.items()}  # type: ignore[misc]


def test_every_round_runs_every_variant_once_in_changing_but_repeatable_order() -> None:
    def run() -> list[str]:
        clock = FakeClock()
        measure(clock.constant(a=1e-3, b=1e-3, c=1e-3), CPU, Budget(12, 12, 1e-9), clock=clock)
        return clock.calls

    timed = run()[-36:]
    rounds = [tuple(timed[i : i + 3]) for i in range(0, 36, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds) and len(set(rounds)) >= 4
    assert run() == run()


@pytest.mark.parametrize(
    ("seconds", "rounds"),
    [(1e-4, 50), (0.1, 10), (0.34, 3), (60.0, 3)],
    ids=["cheap: the most rounds", "until the seconds are used up", "third round crosses it", "slow: the least rounds"],
)
def test_budget_decides_the_number_of_rounds(seconds: float, rounds: int) -> None:
    clock = FakeClock()
    got = measure(clock.constant(a=seconds / 2, b=seconds / 2), CPU, Budget(3, 50, 0.999), clock=clock)
    assert [len(samples.seconds) for samples in got.values()] == [rounds, rounds]
    assert len(clock.calls) - 2 * rounds in (range(2, 3) if seconds > 6 else range(4, 21)), (
        "warm-up: one call, or two to ten"
    )


@pytest.mark.parametrize("wrong", [(0, 5, 1.0), (6, 5, 1.0), (3, 5, 0.0), (3, 5, float("nan"))], ids=str)
def test_impossible_budgets_are_refused(wrong: tuple[int, int, float]) -> None:
    with pytest.raises(UserError, match="needs 1 <= min_rounds <= max_rounds and seconds > 0"):
        Budget(*wrong)


@pytest.mark.parametrize("good_calls", [0, 5, 12], ids=["first call", "warm-up", "a round"])
def test_a_failing_variant_keeps_its_error_and_the_others_go_on(good_calls: int) -> None:
    clock = FakeClock()
    left = itertools.count(good_calls, -1)

    def fail() -> float:
        if next(left) <= 0:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 2 GiB\nsecond line")
        return 1e-3

    variants = {"bad": clock.variant("bad", fail), **clock.constant(good=1e-3)}
    got = measure(variants, CPU, Budget(10, 10, 1.0), clock=clock)
    assert list(got) == ["bad", "good"] and len(got["good"].seconds) == 10 and got["good"].error is None
    assert got["bad"] == Samples((), "OutOfMemoryError: out of memory. Tried to allocate 2 GiB")
    assert clock.recovered == 1 and clock.calls.count("bad") == good_calls + 1, "never called again"


def test_memory_of_a_failed_call_is_free_when_the_clock_recovers() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    class Watching(CpuClock):
        def recover(self) -> None:
            alive.append(kept[0]() is not None)

    def bad() -> None:
        large = torch.zeros(8)
        kept.append(weakref.ref(large))
        raise RuntimeError

    got = measure({"bad": bad}, CPU, Budget(), clock=Watching())
    assert alive == [False] and got["bad"].error == "RuntimeError"


def test_a_variant_that_cannot_be_prepared_is_its_own_error() -> None:
    class Refusing(FakeClock):
        def prepared(self, call: Call) -> Call:
            if call is variants["a"]:
                raise RuntimeError("CUDA graph capture: not permitted")
            return call

    clock = Refusing()
    variants = clock.constant(a=1.0, b=1.0)
    got = measure(variants, CPU, Budget(), clock=clock)
    assert got["a"].error == "RuntimeError: CUDA graph capture: not permitted" and len(got["b"].seconds) == 10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("speed", [1.0, 2.0], ids=["identical", "twice as fast"])
def test_noise_and_drift_leave_the_ratio_inside_its_interval(speed: float, seed: int) -> None:
    """The machine slows down threefold within the run: it must not show, as rounds are interleaved and paired."""
    clock = FakeClock()
    rng = np.random.default_rng(seed)

    def slow() -> float:
        return float(rng.lognormal(0, 0.02) * (1 + clock.at / 50))

    variants = {"slow": clock.variant("slow", slow), "fast": clock.variant("fast", lambda: slow() / speed)}
    got = measure(variants, CPU, Budget(50, 50, 1.0), clock=clock)
    assert got["slow"].p80 / got["slow"].p20 > 1.5
    r = ratio(got["slow"], got["fast"])
    assert r.low <= speed <= r.high and r.low <= r.value <= r.high
    assert r.high - r.low < 0.2 * speed


def test_identical_times_have_ratio_one_without_width() -> None:
    clock = FakeClock()
    got = measure(clock.constant(a=0.25, b=0.25), CPU, Budget(), clock=clock)
    r = ratio(got["a"], got["b"])
    assert (r.value, r.low, r.high) == (1.0, 1.0, 1.0)


def test_interval_covers_the_true_ratio_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        a, b = (Samples(tuple(rng.lognormal(0, 0.1, 30))) for _ in range(2))
        r = ratio(a, b)
        hits += r.low <= 1.0 <= r.high
    assert hits >= 88  # binomial(100, 0.95): 88 or fewer with probability 0.004


def test_samples_derive_their_statistics() -> None:
    samples = Samples((5.0, 1.0, 2.0, 3.0, 4.0, 6.0))
    assert (samples.p20, samples.median, samples.p80) == (2.0, 3.5, 5.0)
    failed = Samples((), "RuntimeError: no kernel")
    with pytest.raises(ValueError, match="no samples: RuntimeError: no kernel"):
        ratio(samples, failed)


def test_cpu_clock_counts_the_call_and_python_does_not_collect_in_it() -> None:
    states: list[bool] = []
    got = measure({"a": lambda: states.append(gc.isenabled())}, CPU, Budget(2, 2, 1e-3))
    assert states[-2:] == [False, False] and gc.isenabled()
    assert len(got["a"].seconds) == 2 and min(got["a"].seconds) > 0


def test_clocks_refuse_what_they_cannot_time() -> None:
    with pytest.raises(UserError, match="CUDA graphs need a cuda device"):
        clock_for(CPU, graphs=True)
    with pytest.raises(UserError, match="not on 'meta'"):
        clock_for(torch.device("meta"))


def test_kernel_names_on_a_cpu_are_operators_by_time() -> None:
    a, b = torch.randn(256, 256), torch.randn(4)
    names = kernel_names(lambda: (a @ a, b.exp()), CPU)
    assert names.index("aten::mm") < names.index("aten::exp") and len(names) == len(set(names)) <= 8


class FakeCuda:
    """Enough of torch.cuda to run the clock's bookkeeping: events count launches, captures fail as torch's do."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.launched = 0
        self.stream: list[str] = ["default"]
        self.pools: list[int] = []
        empty = torch.empty
        patch.setattr(torch, "empty", lambda size, *, dtype, device: empty(min(size, 8), dtype=dtype))
        names = ("device", "stream", "graph")
        fakes = {name: getattr(self, f"_{name}") for name in names} | {
            "get_device_properties": lambda device: SimpleNamespace(L2_cache_size=2**20),
            "Event": lambda enable_timing: SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda end: 2.0),
            "Stream": lambda: SimpleNamespace(wait_stream=lambda other: None),
            "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
            "graph_pool_handle": itertools.count().__next__,
            "current_stream": lambda: None,
            "synchronize": lambda: None,
            "empty_cache": lambda: None,
        }  # fmt: skip
        for name, fake in fakes.items():
            patch.setattr(torch.cuda, name, fake)

    @contextmanager
    def _device(self, device: torch.device) -> Iterator[None]:
        yield

    @contextmanager
    def _stream(self, stream: object) -> Iterator[None]:
        self.stream.append("side")
        yield
        self.stream.pop()

    @contextmanager
    def _graph(self, graph: object, pool: int, stream: object) -> Iterator[None]:
        self.pools.append(pool)
        self.stream.append("capturing")
        try:
            yield
        except Exception:
            raise RuntimeError("capture invalidated") from None
        finally:
            self.stream.pop()


def test_cuda_clock_names_the_first_cause_and_leaves_a_pool_that_a_capture_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda(monkeypatch)

    def bad() -> None:
        if cuda.stream[-1] == "capturing":
            raise ValueError("not permitted when stream is capturing\ndetails")

    variants = {"a": lambda: None, "bad": bad, "b": lambda: None, "c": lambda: None}
    got = measure(variants, torch.device("cuda"), Budget(3, 3), graphs=True)
    assert got["bad"].error == "RuntimeError: CUDA graph capture: ValueError: not permitted when stream is capturing"
    assert all(got[name] == Samples((2e-3,) * 3) for name in "abc")
    first, broken, healing, b, c = cuda.pools
    assert first == broken and healing != broken and b == c and b not in (broken, healing)


@needs_cuda
@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "graphs"])
def test_cuda_failures_stay_alone(graphs: bool) -> None:
    device = torch.device("cuda")
    x = torch.randn(512, 512, device=device)
    stream = torch.cuda.current_stream()
    variants = {
        "before": lambda: x @ x,
        "huge": lambda: torch.empty(2**45, device=device),
        "synchronises": lambda: (x @ x).sum().item(),
        "after": lambda: (x @ x).relu(),
    }
    got = measure(variants, device, Budget(5, 5, 1.0), graphs=graphs)
    assert got["huge"].error is not None and "out of memory" in got["huge"].error
    assert (got["synchronises"].error is not None) == graphs
    for name in ("before", "after"):
        assert len(got[name].seconds) == 5 and all(0 < seconds < 0.1 for seconds in got[name].seconds)
    assert torch.cuda.current_stream() == stream
    assert bool(((x @ x).relu() >= 0).all()), "the device still works"
    torch.randn(4, device=device)  # raises after a broken capture that nothing has ended


@needs_cuda
def test_cuda_graph_replays_compute() -> None:
    device = torch.device("cuda")
    count = torch.zeros((), device=device)
    measure({"a": lambda: count.add_(1)}, device, Budget(4, 4, 1e-6), graphs=True)
    assert count.item() >= 3 + 2 + 4, "capture itself runs nothing; warm-up and every round do"


@needs_cuda
def test_kernel_names_on_cuda_are_kernels() -> None:
    device = torch.device("cuda")
    x = torch.randn(1024, 1024, device=device, dtype=torch.bfloat16)
    kernel_names(lambda: x @ x, device)
    names = kernel_names(lambda: (x @ x).relu_(), device)
    assert len(names) >= 2 and not any(name.startswith("aten::") for name in names)
