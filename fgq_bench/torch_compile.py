"""torch.compile where torch can compile, eager elsewhere: for code that runs often, on one shape or on any."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from fgq_bench.environment import check_compile_cache, cpp_compiler
from fgq_bench.processor import has

check_compile_cache()  # in words of ours, before torch makes that folder
import torch._dynamo  # noqa: E402
import torch._functorch.config as partitioner  # noqa: E402
import torch._inductor.config as inductor  # noqa: E402

_log = logging.getLogger(__name__)
RECOMPILE_LIMIT = 64  # widths, dtypes and switches each have a graph of their own
if has("avx512_fp16"):
    # On a Xeon with these instructions (torch 2.13, g++ 12) compiled loops of 512 bits make FlatQuant's and FGQ's losses
    # nan in the first block; loops of 256 bits and eager code do not. On an EPYC without them 512 bits are right.
    inductor.cpp.simdlen = 256


def is_compiling() -> bool:
    """Whether code is compiled here: a compiler works, and TORCH_COMPILE_DISABLE=1 does not forbid it."""
    return cpp_compiler() is not None and not torch._dynamo.config.disable


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` compiled; in training everything but matrix products is recomputed in the backward pass.

    Left alone, torch saves boolean masks between the passes, which its CPU code writes one by one: 1.5x slower.
    """
    if cpp_compiler() is None:
        _log.warning(
            "no C++ compiler: block reconstruction and probing (sensitivity, task-aware search) run uncompiled, about three times slower"
        )
        return function
    fast = torch.compile(function, dynamic=False)

    def call(*arguments: Any) -> Any:
        limit = torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT)
        with limit, partitioner.patch(aggressive_recomputation=True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # torch's own look
            return fast(*arguments)

    return call


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of a few pointwise operations and row reductions as one loop, whatever the shapes; inference only.

    Nothing but torch's own guards runs before the loop: it is called for every linear layer.
    """
    if cpp_compiler() is None:
        _log.warning("no C++ compiler: inputs and outputs of integer products are scaled in several passes, slower")
        return function
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    return torch.compile(function, dynamic=True)
