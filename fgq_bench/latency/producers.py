"""The layer before a linear, timed with it: a deployment fuses the quantiser into LayerNorm or GELU.

Both arms pay for the producer. The float one is compiled, so that nobody compares with a slow LayerNorm. The attention
projection has no producer that could quantise; there the linear with its own quantiser counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fgq_bench.kernels.kernel import IntegerKernel, Kernel
from fgq_bench.kernels.placement import seat
from fgq_bench.latency.library import fp8_product, fp8_rows, has_fp8
from fgq_bench.latency.variants import BASELINE, Variant
from fgq_bench.quant.linear import QuantLinear

SUFFIX = " + producer"
FLOAT = BASELINE + SUFFIX


def producer_of(role: str, width: int, device: torch.device) -> nn.Module:
    """What feeds the linear ``role`` of a block: a LayerNorm of ``width`` in bf16, a GELU, or nothing."""
    if role in ("qkv", "fc1"):
        return nn.LayerNorm(width, device=device, dtype=torch.bfloat16).requires_grad_(False)
    return nn.GELU() if role == "fc2" else nn.Identity()


def float16(role: str, x: Tensor, product: Callable[[Tensor], Tensor]) -> dict[str, Variant]:
    """The baseline: the compiled producer, then bf16 ``product``, on ``x`` [M, K]."""
    producer = torch.compile(producer_of(role, x.shape[1], x.device), dynamic=False)
    return {FLOAT: Variant(lambda: product(producer(x)), baseline=FLOAT)}


def fp8(role: str, x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Variant]:
    """Producer and fp8 quantiser compiled together, then the fp8 product; see ``library.fp8``."""
    if not has_fp8(x.device):
        return {}
    producer, packed = producer_of(role, x.shape[1], x.device), fp8_rows(weight)

    def codes(rows: Tensor) -> tuple[Tensor, Tensor]:
        return fp8_rows(producer(rows))

    compiled = torch.compile(codes, dynamic=False)
    return {"fp8" + SUFFIX: Variant(lambda: fp8_product(compiled(x), packed, bias), baseline=FLOAT)}


def quantised(role: str, x: Tensor, linear: QuantLinear, kernels: Sequence[type[Kernel]]) -> dict[str, Variant]:
    """The kernel of ``linear`` behind the producer that emits its codes; nothing where no kernel fuses them."""
    kernel, how = seat(linear, kernels)
    producer = producer_of(role, x.shape[1], x.device)
    if not isinstance(kernel, IntegerKernel):
        return {}
    fused = producer if isinstance(producer, nn.Identity) else kernel.fused_with(producer)
    if fused is None or kernel.fused_with(nn.GELU()) is None:
        return {}
    about = {"kernel": how.kernel, "scheme": str(linear.scheme)}
    return {f"{linear.scheme}{SUFFIX}": Variant(lambda: kernel(fused(x)), True, baseline=FLOAT, about=about)}
