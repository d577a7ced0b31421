"""Exclusive times by label on a fake clock; labels that cost nothing, survive errors and vanish in compiled code."""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fgq_bench.latency import breakdown as module
from fgq_bench.latency.breakdown import amdahl, annotate_modules, annotated, breakdown

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class FakeStamps:
    """Time in whole seconds that passes only by ``sleep``; points are evaluated only after ``finish``."""

    def __init__(self) -> None:
        self.at = 0
        self.finished = 0

    def read(self) -> int:
        return self.at

    def sleep(self, seconds: int) -> None:
        self.at += seconds

    def seconds(self, start: Any, end: Any) -> float:
        assert self.finished >= end
        return float(end - start)

    def finish(self) -> None:
        self.finished = self.at


def _nested(clock: FakeStamps) -> Callable[[], None]:
    """4 s outside, 3 s of a, 8 s of b of which 2 s are inside a; b inside b as well."""

    @annotated("b")
    def inner() -> None:
        clock.sleep(2)
        with annotated("b"):
            clock.sleep(3)

    def call() -> None:
        clock.sleep(1)
        with annotated("a"):
            clock.sleep(2)
            with annotated("b"):
                clock.sleep(2)
            clock.sleep(1)
        clock.sleep(3)
        inner()
        with annotated("b"):
            clock.sleep(1)

    return call


def test_times_are_exclusive_and_sum_to_the_total() -> None:
    clock = FakeStamps()
    got = breakdown(_nested(clock), CPU, passes=1, stamps=clock)
    assert got == {"other": 4, "a": 3, "b": 8}
    assert sum(got.values()) == clock.at / 2, "one pass of two, the first of which is warm-up"


@pytest.mark.parametrize(("passes", "expected"), [(1, 2), (3, 3), (4, 3), (5, 4)])
def test_the_pass_with_the_median_total_is_reported(passes: int, expected: int) -> None:
    clock = FakeStamps()
    durations = iter([100, *range(1 + passes, 1, -1)])  # a slow warm-up, then ever faster
    got = breakdown(lambda: clock.sleep(next(durations)), CPU, passes, clock)
    assert got == {"other": expected}


class Model(nn.Module):
    """Two blocks, one with a linear inside a labelled part."""

    def __init__(self, clock: FakeStamps | None = None) -> None:
        super().__init__()
        self.norm, self.linear, self.act = nn.LayerNorm(4), nn.Linear(4, 4), nn.ReLU()
        self.clock = clock

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(self.norm(x))
        if self.clock:
            self.clock.sleep(5)
        return self.act(x)  # type: ignore[no-any-return]


class Slow(nn.Linear):
    """Two seconds a call."""

    clock: FakeStamps

    def forward(self, x: Tensor) -> Tensor:
        self.clock.sleep(2)
        return super().forward(x)


def _label(name: str, layer: nn.Module) -> str | None:
    return {"": "whole", "linear": "linears"}.get(name) if not isinstance(layer, nn.ReLU) else "activations"


def test_modules_are_annotated_from_outside_and_only_for_the_duration() -> None:
    clock = FakeStamps()
    model, x = Model(clock), torch.zeros(2, 4)
    model.linear = Slow(4, 4)
    model.linear.clock = clock
    with annotate_modules(model, _label):
        got = breakdown(lambda: model(x), CPU, 1, clock)
    assert got == {"other": 0, "whole": 5, "linears": 2, "activations": 0}
    assert breakdown(lambda: model(x), CPU, 1, clock) == {"other": 7}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_error_closes_labels_and_ends_the_breakdown() -> None:
    model = Model()
    with annotate_modules(model, _label), pytest.raises(RuntimeError, match="shape"):
        breakdown(lambda: model(torch.zeros(2, 3)), CPU)

    def caught() -> None:
        try:
            with annotated("a"):
                raise ValueError
        except ValueError:
            clock.sleep(1)

    clock = FakeStamps()
    assert breakdown(caught, CPU, 1, clock) == {"other": 1, "a": 0}


def test_an_error_inside_a_hooked_module_closes_its_label() -> None:
    clock = FakeStamps()
    model = Model()

    def call() -> None:
        with pytest.raises(RuntimeError):
            model(torch.zeros(2, 3))
        clock.sleep(1)

    with annotate_modules(model, lambda name, _: name or None):
        assert breakdown(call, CPU, 1, clock) == {"other": 1, "norm": 0}


def test_breakdowns_do_not_nest() -> None:
    with pytest.raises(RuntimeError, match="being taken already"):
        breakdown(lambda: breakdown(lambda: None, CPU) if module._recorder else None, CPU)
    assert module._recorder is None


def test_a_label_costs_about_as_much_as_any_context_manager_when_nothing_is_taken() -> None:
    class Nothing:
        def __enter__(self) -> None: ...

        def __exit__(self, *details: object) -> None: ...

    def fastest(context: Callable[[], Any]) -> float:
        def run() -> None:
            with context():
                pass

        return min(timeit.repeat(run, number=2000, repeat=20))

    assert fastest(lambda: annotated("a")) < 5 * fastest(Nothing)


def test_labels_vanish_in_compiled_code_without_graph_breaks_or_recompiles() -> None:
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    @annotated("decorated")
    def inner(x: Tensor) -> Tensor:
        return x + 1

    def function(x: Tensor) -> Tensor:
        with annotated("a"):
            return inner(x.exp()) * 2

    compiled = torch.compile(function, backend=backend, fullgraph=True)
    x = torch.ones(3)
    assert torch.equal(compiled(x), function(x))

    def call() -> None:
        with annotated("outside"):
            compiled(x)

    assert set(breakdown(call, CPU, 1)) == {"other", "outside"} and len(graphs) == 1


def test_hooks_vanish_in_compiled_code_too() -> None:
    model, x = Model(), torch.zeros(2, 4)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with annotate_modules(model, lambda name, _: name or None):
        assert set(breakdown(lambda: compiled(x), CPU, 1)) == {"other"}


def test_real_time_on_the_cpu_goes_to_the_heavy_part() -> None:
    a = torch.randn(384, 384)

    def call() -> None:
        with annotated("heavy"):
            for _ in range(8):
                a @ a
        with annotated("light"):
            a[0] + 1

    got = breakdown(call, CPU)
    assert got["heavy"] > got["light"] >= 0 and got["other"] >= 0


@needs_cuda
def test_device_time_on_cuda_goes_to_the_part_whose_kernels_run() -> None:
    device = torch.device("cuda")
    a = torch.randn(4096, 4096, device=device)

    def call() -> None:
        with annotated("light"):
            a[0] + 1
        with annotated("heavy"):
            for _ in range(8):
                a @ a

    got = breakdown(call, device)
    assert got["heavy"] > 10 * got["light"] > 0


@pytest.mark.parametrize(
    ("faster", "expected"),
    [({}, 1.0), ({"linears": 2.0}, 10 / 7), ({"linears": math.inf}, 2.5), ({"linears": math.inf, "rest": 4.0}, 10.0)],
    ids=["nothing", "linears twice", "linears free", "both"],
)
def test_amdahl_bounds_the_whole(faster: dict[str, float], expected: float) -> None:
    assert math.isclose(amdahl({"linears": 6.0, "rest": 4.0}, faster), expected)
    assert math.isclose(amdahl({"linears": 0.6, "rest": 0.4}, faster), expected)


def test_amdahl_of_everything_free_is_infinite_and_mistakes_are_named() -> None:
    assert amdahl({"a": 1.0}, {"a": math.inf}) == math.inf
    for wrong in ({"b": 2.0}, {"a": 0.0}):
        with pytest.raises(ValueError, match="needs positive factors of a"):
            amdahl({"a": 1.0}, wrong)
