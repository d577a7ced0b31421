"""Quantise where the input is made: LayerNorm and GELU hand codes to the linear after them, where its kernel can.

The attention projection's input comes out of the attention product, and a transform between producer and quantiser
needs whole rows: there the quantiser is a pass of its own.
"""

from __future__ import annotations

from torch import nn

from fgq_bench.kernels.kernel import IntegerKernel
from fgq_bench.models.layers import Block

EDGES = (
    ("norm1", "attn.qkv"),
    ("norm2", "mlp.fc1"),
    ("mlp.act", "mlp.fc2"),
)  # producer -> the only linear that reads it


def fuse_producers(model: nn.Module) -> int:
    """Exchange producers of ``model``'s transformer blocks for such that emit codes; returns how many were."""
    count = 0
    for block in [module for module in model.modules() if isinstance(module, Block)]:
        for producer, consumer in EDGES:
            linear = block.get_submodule(consumer)
            fused = linear.fused_with(block.get_submodule(producer)) if isinstance(linear, IntegerKernel) else None
            if fused is not None:
                block.set_submodule(producer, fused)
                count += 1
    return count
