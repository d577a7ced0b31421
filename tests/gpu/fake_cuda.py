"""Pretend that there is an H100: fake tensors on cuda:0, kernels' launches recorded instead of made.

``python -m tests.gpu.fake_cuda MODULE ARGUMENTS`` runs a module so. Shapes, types, devices and every branch of Python are
real, values are not: what reads one (``item``) gets 1.
"""

from __future__ import annotations

import contextlib
import runpy
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.profiler
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CARD = types.SimpleNamespace(
    name="fake H100", multi_processor_count=132, L2_cache_size=50 * 2**20, total_memory=80 * 2**30, major=9, minor=0
)
REAL_GENERATOR = torch.Generator
REAL_TO: Callable[..., torch.Tensor] = torch.Tensor.to
LAUNCHES: list[str] = []  # names of kernels in the order of their launches


class _Event:
    """A point in time that is always a millisecond after the last."""

    def __init__(self, **options: Any) -> None:
        self.stream: Any = None

    def record(self, stream: Any = None) -> None:
        """Nothing to record."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, other: _Event) -> float:
        """A millisecond."""
        return 1.0


class _Stream:
    """A stream that does nothing."""

    cuda_stream = 0

    def wait_stream(self, other: Any) -> None:
        """Nothing to wait for."""


class _Graph:
    """A CUDA graph that replays nothing."""

    def replay(self) -> None:
        """Nothing was captured."""


class _Generator:
    """A generator of fake values, which needs no state; on the CPU a real one."""

    def __new__(cls, device: Any = "cpu") -> Any:
        if torch.device(device).type == "cpu":
            return REAL_GENERATOR()
        return super().__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        self.device = torch.device(device)

    def manual_seed(self, seed: int) -> _Generator:
        """Itself."""
        return self


class _Profile:
    """A profile of nothing."""

    def __init__(self, **options: Any) -> None:
        """Whatever is asked for."""

    def __enter__(self) -> _Profile:
        return self

    def __exit__(self, *details: object) -> None:
        """Nothing was recorded."""

    def key_averages(self) -> list[Any]:
        """No kernels."""
        return []


def _to_empty(self: torch.nn.Module, *, device: Any) -> torch.nn.Module:
    """As ``Module.to_empty``, by new parameters: fake ones cannot be exchanged in place."""
    for module in self.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty_like(buffer, device=device))
    return self


def _without_fake_generator(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if isinstance(options.get("generator"), _Generator):
            options.pop("generator")
        return function(*arguments, **options)

    return call


def _nothing(*arguments: Any, **options: Any) -> None:
    return None


def _patch_cuda() -> None:
    """Replace what would ask a driver."""
    torch._C._ensureCUDADeviceGuardSet()
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.get_device_properties = lambda *_: CARD
    cuda.get_device_name = lambda *_: CARD.name
    cuda.device = lambda *_: contextlib.nullcontext()
    cuda.current_stream = lambda *_: _Stream()
    cuda.stream = lambda *_: contextlib.nullcontext()
    cuda.graph = lambda *_, **__: contextlib.nullcontext()
    cuda.Event, cuda.Stream, cuda.CUDAGraph = _Event, _Stream, _Graph
    cuda.graph_pool_handle = lambda: (0, 0)
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "_lazy_init", "ipc_collect"):
        setattr(cuda, name, _nothing)
    for name in ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
        setattr(cuda, name, lambda *_: 0)


def _index(self: torch.Tensor, index: Any) -> torch.Tensor:
    """``self[index]`` by operators: PyTorch's own indexing asks for a device guard that a build for CPUs has not."""
    given = index if isinstance(index, tuple) else (index,)
    kept = sum(each is not None and each is not Ellipsis for each in given)
    parts = [part for each in given for part in ([slice(None)] * (self.dim() - kept) if each is Ellipsis else [each])]
    result, at = self, 0
    tensors: list[torch.Tensor | None] = []
    for part in parts:
        if part is None:
            result, at = result.unsqueeze(at), at + 1
        elif isinstance(part, torch.Tensor):
            tensors, at = [*tensors, *[None] * (at - len(tensors)), part], at + 1
        elif isinstance(part, slice):
            result = torch.ops.aten.slice(result, at, part.start, part.stop, part.step or 1)
            at += 1
        else:
            result = result.select(at, int(part))
    return torch.ops.aten.index(result, tensors) if tensors else result


def _to(self: torch.Tensor, *arguments: Any, copy: bool = False, **options: Any) -> torch.Tensor:
    """``self.to(...)``, by the operator that asks for no device guard."""
    other = arguments[0] if arguments and isinstance(arguments[0], torch.Tensor) else None
    if other is not None:
        device, dtype = other.device, other.dtype
    else:
        device, dtype, _, _ = torch._C._nn._parse_to(*arguments, **options)
    device, dtype = device or self.device, dtype or self.dtype
    if not isinstance(self, FakeTensor):
        real = torch.empty(self.shape, dtype=dtype, device=device) if device.type == "cuda" else None
        return REAL_TO(self, *arguments, copy=copy, **options) if real is None else real
    if not copy and (device.type, dtype) == (self.device.type, self.dtype):
        return self
    copied: torch.Tensor = torch.ops.aten._to_copy(self, dtype=dtype, device=device)
    return copied


def _patch_tensors() -> None:
    """Generators of a device that is not there, and reads of values that are not."""
    library: Any = torch
    library.Generator = _Generator
    library.compile = lambda model=None, **options: model  # it would be compiled for a GPU
    library.nn.Module.compile, library.nn.Module.to_empty = _nothing, _to_empty
    library.profiler.profile = _Profile
    library.equal = lambda a, b: a.shape == b.shape
    for name in ("randn", "rand", "randint", "randperm"):
        setattr(torch, name, _without_fake_generator(getattr(torch, name)))
    for name in ("normal_", "uniform_"):
        setattr(torch.Tensor, name, _without_fake_generator(getattr(torch.Tensor, name)))
    fakes: Any = FakeTensor
    fakes.__getitem__, fakes.__setitem__ = _index, _nothing
    library.Tensor.to = _to
    fakes.item = fakes.__int__ = fakes.__index__ = lambda self: 1
    fakes.__float__ = lambda self: 1.0
    fakes.__bool__ = lambda self: True
    module: Any = fake_tensor
    module.init_gpu_context = _nothing
    fakes_mode: Any = FakeTensorMode
    fakes_mode.avoid_device_init = property(lambda self: True)


def _patch_triton() -> None:
    """Record launches."""
    import triton

    def getitem(self: Any, grid: Any) -> Callable[..., None]:
        return lambda *arguments, **options: LAUNCHES.append(self.fn.__name__)

    triton.runtime.JITFunction.__getitem__ = getitem


@contextmanager
def fake_cuda() -> Iterator[list[str]]:
    """Within the context a GPU seems to be there; yields the launches. Meant for a process of its own: nothing is undone."""
    _patch_triton()
    _patch_cuda()
    _patch_tensors()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield LAUNCHES


def main() -> None:
    """Run the module named first with the arguments behind it."""
    module, *sys.argv[1:] = sys.argv[1:]
    with fake_cuda() as launches:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            print(f"{len(launches)} launches of {', '.join(sorted(set(launches)))}")


if __name__ == "__main__":
    main()
