"""Imports, versions, the card, which backends run, and whether division by a tensor is IEEE's there."""

from __future__ import annotations

import platform

import numpy as np
import pydantic
import torch
import triton

from fgq_bench.kernels.registry import BACKENDS
from fgq_bench.quant.grid import exact_divisor


def main() -> None:
    """Print one fact a line; exit 1 where there is no GPU."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "triton": triton.__version__}
    print(versions | {"numpy": np.__version__, "pydantic": pydantic.VERSION})
    for name, backend in BACKENDS.items():
        print(f"backend {name}: {backend.missing() or 'runs'}")
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device: nothing to measure")
    card = torch.cuda.get_device_properties(0)
    print(
        f"{card.name}, {card.multi_processor_count} SMs, L2 {card.L2_cache_size >> 20} MiB, sm_{card.major}{card.minor}"
    )
    x = torch.rand(1 << 16, device="cuda") + 0.5
    for number in (7, 127):
        exact = (x.double() / number).float()
        wrong = [(quotient != exact).double().mean() for quotient in (x / number, x / exact_divisor(x, number))]
        print(f"x / {number}: {float(wrong[0]):.1%} not rounded to nearest; by a tensor {float(wrong[1]):.1%}")


if __name__ == "__main__":
    main()
