"""The trainer as users run it, compiled: seeded runs are identical, and equal weights are FlatQuant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgq_bench import api
from fgq_bench.models.vggt import VGGT


def test_compiled_runs_repeat_and_uniform_fgq_is_flatquant(tiny: VGGT, manifest: Path) -> None:
    def codes(method: str, scheme: str, **overrides: Any) -> list[Tensor]:
        """Trained anew every time: nothing is shared."""
        made = api.quantize(tiny, method, scheme, overrides={"epochs": 1, **overrides}, calibration=str(manifest))
        return [linear.codes for linear in made.linears.values()]

    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    first = codes("flatquant", "w4a4")
    rates = {"learning_rate": 5e-3, "clip_learning_rate": 5e-2, "floor": 5e-6, "warmup": 16}
    for method, more in (("flatquant", {}), ("fgq:uniform", rates)):
        assert all(torch.equal(a, b) for a, b in zip(first, codes(method, "w4a4", **more), strict=True)), method
    assert not all(torch.equal(a, b) for a, b in zip(first, codes("flatquant", "w3a8"), strict=True))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"] - before
    assert graphs == 2, "one graph before and one after attention serve every block, scheme and method"
