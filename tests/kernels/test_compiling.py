"""``torch.compile`` around kernels: it takes what lies between them, once for all blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from fgq_bench.kernels.cpu.int8 import CpuInt8
from fgq_bench.models.layers import Block
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme


def block() -> Block:
    made = Block(32, 2, eps=1e-6).eval()
    for parent, child in ((made.attn, "qkv"), (made.attn, "proj"), (made.mlp, "fc1"), (made.mlp, "fc2")):
        linear = getattr(parent, child)
        setattr(parent, child, CpuInt8(QuantLinear.from_float(linear.weight, linear.bias, Scheme.parse("w4a8"))))
    return made


def test_a_block_compiles_around_its_kernels_and_serves_the_next_one() -> None:
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def run(blocks: list[Any], x: Tensor) -> Tensor:
        for each in blocks:
            x = each(x)
        return x

    blocks, x = [block() for _ in range(10)], torch.randn(2, 5, 32)  # more than the compiler tries again for
    torch._dynamo.reset()
    with torch.no_grad():
        expected = run(blocks, x)
        compiled = [torch.compile(each, backend=backend) for each in blocks]
        assert torch.equal(run(compiled[:1], x), blocks[0](x))
        count = len(graphs)
        assert torch.equal(run(compiled, x), expected)
    assert len(graphs) == count == 5, "before, between and behind four linears"
    assert not any("_int_mm" in str(graph.code) for graph in graphs)
    torch._dynamo.reset()
