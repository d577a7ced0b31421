"""fgq-bench: post-training quantization of feed-forward 3D reconstruction transformers, compared fairly.

>>> import fgq_bench
>>> model = fgq_bench.load_model("vggt-tiny")
>>> fgq_bench.quantize(model, "rtn", "w4a4").save("w4a4.safetensors")
>>> small = fgq_bench.load_quantized("w4a4.safetensors", model)
>>> fgq_bench.evaluate(small, "procedural-objects", reference=model, limit=8)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgq_bench.api import evaluate, load_model, load_quantized, quantize

__version__ = "0.1.0"
__all__ = ["evaluate", "load_model", "load_quantized", "quantize"]


def __getattr__(name: str) -> Any:
    """Import the API (and torch with it) when it is first used."""
    if name in __all__:
        from fgq_bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'fgq_bench' has no attribute {name!r}")
