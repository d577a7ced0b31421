"""A straightforward eager FlatQuant block in plain torch, written independently of ``fgq_bench.quantizers.flatness``.

One parametrised orthogonal factor at a time, one linear at a time, fp32 throughout: what one writes first. It is the
oracle of the trainer's loss and the baseline of its speed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from fgq_bench.models.layers import Block, Rotary, rotate
from fgq_bench.quantizers.flatness import MATRICES, matrix_sizes


class Ste(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: object, *g: Tensor) -> Tensor:
        return g[0]


class Factor(nn.Module):
    """P = U diag(d) V^T with Cayley-parametrised U and V that start from the raw matrices given."""

    def __init__(self, u: Tensor, v: Tensor) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(len(u), len(u), bias=False), nn.Linear(len(v), len(v), bias=False)
        for layer, raw in ((self.u, u), (self.v, v)):
            orthogonal(layer, orthogonal_map="cayley", use_trivialization=False)
            with torch.no_grad():
                layer.parametrizations.weight.original.copy_(raw)  # type: ignore[union-attr, operator]
        self.d = nn.Parameter(torch.ones(len(u)))

    def both(self) -> tuple[Tensor, Tensor]:
        u, v = self.u.weight, self.v.weight
        return u @ torch.diag(self.d) @ v.t(), u @ torch.diag(1 / self.d) @ v.t()


def kron(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    shape = x.shape
    x = x.reshape(-1, left.shape[0], right.shape[0])
    out: Tensor = (left.t() @ (x @ right)).reshape(shape)
    return out


def round_symmetric(x: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    top = 2 ** (bits - 1) - 1
    scale = torch.maximum(low.abs(), high.abs()).clamp(min=1e-5) / top
    rounded: Tensor = Ste.apply(x / scale)  # type: ignore[no-untyped-call]
    result: Tensor = rounded.clamp(-top - 1, top) * scale
    return result


class PlainLinear(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor | None, w_bits: int, a_bits: int) -> None:
        super().__init__()
        self.weight, self.bias, self.w_bits, self.a_bits = weight, bias, w_bits, a_bits
        self.w_low = nn.Parameter(torch.full((len(weight), 1), 4.0))
        self.w_high = nn.Parameter(torch.full((len(weight), 1), 4.0))
        self.a_low, self.a_high = nn.Parameter(torch.tensor(4.0)), nn.Parameter(torch.tensor(4.0))

    def forward(
        self, x: Tensor, left: Tensor, right: Tensor, scale: Tensor | None, out: Tensor | None = None
    ) -> Tensor:
        w = self.weight if scale is None else self.weight / scale
        w = kron(w, left, right)
        low = w.amin(1, keepdim=True).clamp(max=0) * torch.sigmoid(self.w_low)
        high = w.amax(1, keepdim=True).clamp(min=0) * torch.sigmoid(self.w_high)
        w = torch.minimum(torch.maximum(w, low), high)
        bias = self.bias
        if out is not None:
            n = len(out)
            w = (w.t().reshape(w.shape[1], -1, n) @ out).reshape(w.shape[1], -1).t()
            bias = None if bias is None else (bias.reshape(-1, n) @ out).reshape(-1)
        w = round_symmetric(w, w.amin(1, keepdim=True).clamp(max=0), w.amax(1, keepdim=True).clamp(min=0), self.w_bits)
        low = x.amin(-1, keepdim=True).clamp(max=0) * torch.sigmoid(self.a_low)
        high = x.amax(-1, keepdim=True).clamp(min=0) * torch.sigmoid(self.a_high)
        return F.linear(round_symmetric(x, low, high, self.a_bits), w, bias)


class PlainBlock(nn.Module):
    """``raw``: starting matrices by name, two per factor; ``scales``: channel scales of qkv, fc1, fc2."""

    def __init__(
        self, block: Block, raw: dict[str, tuple[Tensor, Tensor]], scales: dict[str, Tensor], bits: int
    ) -> None:
        super().__init__()
        self.block = block
        self.factors = nn.ModuleDict({name.replace(".", "_"): Factor(*both) for name, both in raw.items()})
        self.scales = nn.ParameterDict({name: nn.Parameter(value.clone()) for name, value in scales.items()})
        qkv, bias = block.attn.qkv.weight.detach().chunk(3), block.attn.qkv.bias.detach().chunk(3)
        self.q, self.k, self.v = (PlainLinear(w, b, bits, bits) for w, b in zip(qkv, bias, strict=True))
        self.proj = PlainLinear(block.attn.proj.weight, block.attn.proj.bias, bits, bits)
        self.fc1 = PlainLinear(block.mlp.fc1.weight, block.mlp.fc1.bias, bits, bits)
        self.fc2 = PlainLinear(block.mlp.fc2.weight, block.mlp.fc2.bias, bits, bits)

    def pair(self, name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        left, left_inv = self.factors[f"{name}_left"].both()  # type: ignore[operator]
        right, right_inv = self.factors[f"{name}_right"].both()  # type: ignore[operator]
        return (left, right), (left_inv, right_inv)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        block, attn = self.block, self.block.attn
        into, undo = self.pair("qkv")
        h = kron(block.norm1(x) * self.scales["qkv"], *into)
        value, value_inv = self.factors["v"].both()  # type: ignore[operator]
        q, k = (part(h, *undo, self.scales["qkv"]) for part in (self.q, self.k))
        v = self.v(h, *undo, self.scales["qkv"], value)
        batch, tokens, dim = x.shape
        q, k, v = (t.view(batch, tokens, attn.heads, -1).transpose(1, 2) for t in (q, k, v))
        q, k = rotate(attn.q_norm(q), rotary), rotate(attn.k_norm(k), rotary)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim)
        heads, heads_inv = self.factors["heads"].both()  # type: ignore[operator]
        out = kron(out, heads, torch.eye(dim // attn.heads))
        x = x + block.ls1(self.proj(out, heads_inv, value_inv, None))
        into, undo = self.pair("fc1")
        h = F.gelu(self.fc1(kron(block.norm2(x) * self.scales["fc1"], *into), *undo, self.scales["fc1"]))
        into, undo = self.pair("fc2")
        result: Tensor = x + block.ls2(self.fc2(kron(h * self.scales["fc2"], *into), *undo, self.scales["fc2"]))
        return result


def plain_twin(block: Block, parameters: dict[str, Tensor], bits: int) -> PlainBlock:
    """The plain block that starts where ``parameters`` of ``fgq_bench.quantizers.flatness`` start."""
    rotations, scales = parameters["rotations"], {n: parameters[f"scale.{n}"] for n in ("qkv", "fc1", "fc2")}
    pairs = zip(MATRICES, matrix_sizes(block), strict=True)
    raw = {name: (rotations[2 * i, :n, :n], rotations[2 * i + 1, :n, :n]) for i, (name, n) in enumerate(pairs)}
    return PlainBlock(block, raw, scales, bits)
