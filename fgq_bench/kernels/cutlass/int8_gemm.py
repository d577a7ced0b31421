"""The CUTLASS product as a function of tensors; it takes and gives what ``triton.int8_gemm`` does."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from fgq_bench.kernels.cutlass.build import build
from fgq_bench.kernels.cutlass.variants import OUTPUTS, Choice, Variant, pick
from fgq_bench.kernels.triton.checks import expect_int8_product

POINTERS, NUMBERS = 6, 5  # of the exported functions, before the stream


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build()))


@functools.cache
def _function(variant: Variant) -> Any:
    function = getattr(_library(), variant.name)
    function.argtypes = [ctypes.c_void_p] * POINTERS + [ctypes.c_int] * NUMBERS + [ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function


@functools.cache
def _processors(device: torch.device) -> int:
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def int8_linear(
    codes: Tensor,  # [M, K] int8
    scale: Tensor,  # [M] fp32
    weight: Tensor,  # [N, K] int8
    weight_scale: Tensor,  # [N] fp32
    bias: Tensor | None,  # [N] fp32
    dtype: torch.dtype,  # bf16 or fp32
    choice: Choice | None = None,  # None: what the table picks
) -> Tensor:
    """y [M, N] = (exact integer sums) * weight_scale * scale + bias in fp32, rounded once to ``dtype``.

    Bit-equal to the reference backend. It runs on the current stream, in a CUDA graph too, and never waits. Raises
    ValueError for wrong types or shapes, strides, or an N or K that is no multiple of 16; UserError where the library
    can neither be found nor built, RuntimeError where CUTLASS or the driver refuses a launch.
    """
    tokens, channels, width = expect_int8_product(codes, scale, weight, weight_scale, bias)
    if dtype not in OUTPUTS:
        raise ValueError(f"outputs are {', '.join(map(str, OUTPUTS))}, not {dtype}")
    choice = choice or pick(tokens, channels, dtype)
    if choice.variant.output != OUTPUTS[dtype]:
        raise ValueError(f"variant {choice.variant.name} does not write {dtype}")
    out = torch.empty(tokens, channels, dtype=dtype, device=codes.device)
    if not tokens:
        return out
    pointers = [None if each is None else each.data_ptr() for each in (codes, weight, out, scale, weight_scale, bias)]
    sizes = (tokens, channels, width, _processors(codes.device), choice.swizzle)
    with torch.cuda.device(codes.device):
        status = _function(choice.variant)(*pointers, *sizes, torch.cuda.current_stream().cuda_stream)
    if status:
        raise RuntimeError(f"{choice.variant.name} refused {tokens} x {channels} x {width}: status {status}")
    return out


@functools.cache
def _ones(size: int, device: torch.device) -> Tensor:
    """Kept, so that a captured graph can read it."""
    return torch.ones(size, device=device)


def int8_sums(codes: Tensor, weight: Tensor) -> Tensor:
    """The sums [M, N] of ``int8_linear`` before any scale, in fp32: exact up to 2^24, rounded beyond."""
    scale, weight_scale = (_ones(len(each), each.device) for each in (codes, weight))
    return int8_linear(codes, scale, weight, weight_scale, None, torch.float32)
