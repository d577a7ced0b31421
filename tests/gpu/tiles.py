"""Every tile of the CUTLASS product on VGGT's linears: what ``kernels/cutlass/variants.py`` is tuned from."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from fgq_bench.kernels.cutlass.int8_gemm import int8_linear
from fgq_bench.kernels.cutlass.variants import VARIANTS, Choice
from fgq_bench.kernels.triton import int4_gemm, int8_gemm
from fgq_bench.kernels.triton.packing import pack_int4
from fgq_bench.latency.cases import roles
from fgq_bench.latency.timing import Budget, measure

TOKENS = (1374, 2748, 13740)
BF16 = torch.bfloat16


@torch.inference_mode()
def main() -> None:
    """Print microseconds, fastest first, for every linear and number of tokens."""
    device = torch.device("cuda")
    for tokens in TOKENS:
        for role, (width, out) in roles(1024).items():
            codes, weight = (torch.randint(-8, 8, (n, width), dtype=torch.int8, device=device) for n in (tokens, out))
            scale, weight_scale, bias = (torch.rand(n, device=device) for n in (tokens, out, out))
            rest = (weight_scale, bias, BF16)
            packed, x, w, b = pack_int4(weight), codes.to(BF16), weight.to(BF16), bias.to(BF16)
            calls = {
                f"{v.tokens}x{v.channels} c{v.cluster} s{swizzle}": partial(
                    int8_linear, codes, scale, weight, *rest, Choice(v, swizzle)
                )
                for v in VARIANTS if v.output == "bf16" for swizzle in (1, 4)
            }  # fmt: skip
            calls["Triton int8"] = partial(int8_gemm.int8_linear, codes, scale, weight, *rest)
            calls["Triton int4"] = partial(int4_gemm.int4_linear, codes, scale, packed, *rest)
            calls["bf16"] = partial(F.linear, x, w, b)
            times = measure(calls, device, Budget(5, 15, 0.05), graphs=True)
            found = sorted((s.median * 1e6, name) for name, s in times.items() if s.seconds)
            failed = {name: s.error for name, s in times.items() if s.error}
            print(f"{role} M={tokens}:", ", ".join(f"{name} {us:.1f}" for us, name in found), failed or "", flush=True)


if __name__ == "__main__":
    main()
