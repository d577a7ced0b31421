"""Bytes: the peak while a function runs, and what a module holds all the time."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from fgq_bench.latency.allocator import release_freed_memory

SLACK = 4 * 2**20  # bytes by which the kernel's two counters may differ right after the reset


@dataclass(frozen=True)
class PeakMemory:
    """Peaks in bytes, see ``peak_memory``."""

    allocated: int
    reserved: int


def _resident(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` (its peak) of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _reset_peak() -> int | None:
    """Set the peak resident set to the present one and return it in bytes; None where that cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmHWM")
        return before if before <= _resident("VmRSS") + SLACK else None
    except (OSError, ValueError):
        return None


def peak_memory(call: Callable[[], object], device: torch.device) -> PeakMemory | None:
    """Peak memory of one call in bytes; warm ``call`` up first. Raises what ``call`` raises.

    CUDA: both absolute, so weights, inputs and whatever else is on the device count. ``allocated`` is what tensors
    held, ``reserved`` what torch's allocator took from the driver (its cache is emptied before; the CUDA context
    and memory that libraries take themselves are in neither).
    CPU: ``allocated`` is the peak resident set above what was resident before (weights and inputs do not count),
    ``reserved`` the peak resident set of the whole process. None where the kernel does not tell (Linux only).
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return PeakMemory(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device))
    release_freed_memory()  # memory kept by malloc is resident already: its use would not show
    before = _reset_peak()
    call()
    if before is None:
        return None
    peak = _resident("VmHWM")
    return PeakMemory(max(peak - before, 0), peak)


def _plain(tensor: Tensor) -> Iterator[Tensor]:
    """``tensor``, or the tensors inside it if it is a wrapper (quantized tensors of torchao are)."""
    if type(tensor) in (Tensor, nn.Parameter) or not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _plain(getattr(tensor, name))


def resident_by_component(module: nn.Module, component: Callable[[str], str]) -> dict[str, int]:
    """Bytes of parameters and buffers per ``component(name)``; names are those of ``named_parameters`` and -buffers.

    A storage counts once and whole, for the first name that uses it. Packed oneDNN tensors, which have none, count
    elements times element size, without oneDNN's padding. Meta tensors count nothing. What a module keeps outside
    parameters and buffers is not seen.
    """
    seen: set[tuple[torch.device, int]] = set()
    total: defaultdict[str, int] = defaultdict(int)
    for name, registered in chain(module.named_parameters(), module.named_buffers()):
        for tensor in _plain(registered):
            if tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
                total[component(name)] += tensor.numel() * tensor.element_size()
                continue
            storage = tensor.untyped_storage()
            place = (tensor.device, storage.data_ptr())
            size = 0 if tensor.is_meta or place in seen else storage.nbytes()
            seen.add(place)
            total[component(name)] += size
    return dict(total)


def resident_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, shared ones once, see ``resident_by_component``."""
    return sum(resident_by_component(module, lambda name: "").values())
