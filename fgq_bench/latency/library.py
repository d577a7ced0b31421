"""PyTorch's own 8-bit products beside ours: int8 (sums only) and, on a GPU that has it, fp8 with its quantiser."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fgq_bench.latency.variants import Variant

E4M3 = torch.float8_e4m3fn
FP8_CAPABILITY = (8, 9)  # the first GPUs with fp8 tensor cores
FEW = 16  # tokens: the GPU's int8 product takes no fewer


def int8(x: Tensor, weight: Tensor) -> dict[str, Variant]:
    """``torch._int_mm`` on random codes of the sizes of ``x`` [tokens, in] and ``weight`` [out, in]; int32 sums."""
    if x.is_cuda and len(x) <= FEW:
        return {}
    codes, weight8 = (torch.randint(-127, 128, each.shape, dtype=torch.int8, device=x.device) for each in (x, weight))
    traffic = codes.numel() + weight8.numel() + 4.0 * len(x) * len(weight)
    return {"torch._int_mm": Variant(partial(torch._int_mm, codes, weight8.t()), True, traffic)}


def has_fp8(device: torch.device) -> bool:
    """Whether ``device`` multiplies fp8 with a scale per row."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY


def fp8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``x`` [M, K] in e4m3 [M, K] and their fp32 scales [M, 1]: the largest magnitude of a row becomes 448."""
    wide = x.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=1e-12) / torch.finfo(E4M3).max
    return (wide / scale).to(E4M3), scale


def fp8_product(codes: tuple[Tensor, Tensor], weight: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
    """y [M, N] bf16 = codes @ weight^T with both rows' scales, plus ``bias`` [N] bf16."""
    (values, scale), (weight8, weight_scale) = codes, weight
    y: Tensor = torch._scaled_mm(
        values, weight8.t(), scale, weight_scale.t(), bias=bias, out_dtype=torch.bfloat16, use_fast_accum=True
    )
    return y


def fp8(x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Variant]:
    """``torch._scaled_mm`` with a scale per row on bf16 ``x`` [M, K], ``weight`` [N, K], ``bias`` [N]; compiled quantiser."""
    if not has_fp8(x.device):
        return {}
    quantise, packed = torch.compile(fp8_rows, dynamic=False), fp8_rows(weight)
    codes = fp8_rows(x)
    return {
        "fp8": Variant(lambda: fp8_product(quantise(x), packed, bias)),
        "fp8 without quantiser": Variant(lambda: fp8_product(codes, packed, bias)),
    }
