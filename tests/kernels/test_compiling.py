"""``torch.compile`` around kernels: it takes what lies between them, once for all blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from fgq_bench.kernels.cpu.int8 import CpuInt8
from fgq_bench.kernels.fusion import fuse_producers
from fgq_bench.kernels.kernel import Codes, opaque
from fgq_bench.models.layers import Block
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme


class Producer(nn.Module):
    """As the CUDA backends' LayerNorm and GELU: it hands codes on."""

    def __init__(self, producer: nn.Module, kernel: CpuInt8) -> None:
        super().__init__()
        self.producer, self.kernel = producer, [kernel]

    @opaque
    def forward(self, x: Tensor) -> Codes:
        return self.kernel[0].quantize(self.producer(x), x.dtype)


class Fusing(CpuInt8):
    def fused_with(self, producer: nn.Module) -> nn.Module:
        return Producer(producer, self)


def block(kernel: type[CpuInt8]) -> Block:
    made = Block(32, 2, eps=1e-6).eval()
    for parent, child in ((made.attn, "qkv"), (made.attn, "proj"), (made.mlp, "fc1"), (made.mlp, "fc2")):
        linear = getattr(parent, child)
        setattr(parent, child, kernel(QuantLinear.from_float(linear.weight, linear.bias, Scheme.parse("w4a8"))))
    fuse_producers(made)
    return made


@pytest.mark.parametrize(("kernel", "pieces"), [(CpuInt8, 5), (Fusing, 3)])
def test_a_block_compiles_around_its_kernels_and_serves_the_next_one(kernel: type[CpuInt8], pieces: int) -> None:
    """Pieces: before, between and behind four linears; two norms and a GELU that quantise leave less between."""
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def run(blocks: list[Any], x: Tensor) -> Tensor:
        for each in blocks:
            x = each(x)
        return x

    blocks, x = [block(kernel) for _ in range(3)], torch.randn(2, 5, 32)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = run(blocks, x)
        compiled = [torch.compile(each, backend=backend) for each in blocks]
        assert torch.equal(run(compiled[:1], x), blocks[0](x))
        count = len(graphs)
        assert torch.equal(run(compiled, x), expected)
    assert len(graphs) == count == pieces
    assert not any("_int_mm" in str(graph.code) for graph in graphs)
    torch._dynamo.reset()
