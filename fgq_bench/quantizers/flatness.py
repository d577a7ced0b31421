"""The learnable parts of FlatQuant on one transformer block, and the block with them in place (spec: fgq, 2.4-2.7).

Kronecker transforms of every linear's input, a channel scale, a transform of the value heads, and clipping of weights
(LWC) and inputs (LAC): Sun et al., "FlatQuant", ICML 2025.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.models.layers import Block, Rotary
from fgq_bench.quant.grid import Clip, limits
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import apply_kronecker, balanced_factors
from fgq_bench.quantizers.cayley import cayley, random_orthogonal
from fgq_bench.quantizers.learned_linear import (
    Grids,
    initial_clips,
    input_clip,
    rounded_linear,
    rounded_weight,
    weight_clip,
)
from fgq_bench.torch_compile import compiled

PARTS = ("q", "k", "v", "proj", "fc1", "fc2")  # linears of a block, qkv split
SCALED = ("qkv", "fc1", "fc2")  # inputs with a channel scale
MATRICES = ("qkv.left", "qkv.right", "fc1.left", "fc1.right", "fc2.left", "fc2.right", "v", "heads")


def matrix_sizes(block: Block) -> tuple[int, ...]:
    """Sizes of ``MATRICES`` for this block."""
    width, hidden, heads = block.mlp.fc1.in_features, block.mlp.fc2.in_features, block.attn.heads
    pairs = [*balanced_factors(width), *balanced_factors(width), *balanced_factors(hidden)]
    return (*pairs, width // heads, heads)


def initial_parameters(
    block: Block, scales: dict[str, Tensor], scheme: Scheme, generator: torch.Generator
) -> dict[str, Tensor]:
    """Starting values: random rotations, spectra of 1, the given channel scales, clipping at sigmoid(4).

    Args:
        scales: by entry of ``SCALED``, [in] each.

    Returns:
        ``rotations`` [2 * matrices, m, m] (U and V of each, padded to the largest size m), ``spectra`` [matrices, m],
        ``scale.<input>``, ``weight_clip.<part>`` [2, out, groups, 1], ``input_clip`` [2, parts].
    """
    sizes = matrix_sizes(block)
    largest = max(sizes)
    rotations = torch.zeros(2 * len(sizes), largest, largest)
    for index, size in enumerate(sizes):
        rotations[2 * index, :size, :size] = random_orthogonal(size, generator)
        rotations[2 * index + 1, :size, :size] = random_orthogonal(size, generator)
    parameters = {"rotations": rotations, "spectra": torch.ones(len(sizes), largest)}
    parameters |= {f"scale.{name}": scales[name].float() for name in SCALED}
    parameters |= initial_clips(split_weights(block), scheme)
    return {name: value.to(block.norm1.weight.device) for name, value in parameters.items()}


def split_weights(block: Block) -> dict[str, Tensor]:
    """Float weights by part."""
    q, k, v = block.attn.qkv.weight.chunk(3)
    return {"q": q, "k": k, "v": v, "proj": block.attn.proj.weight, "fc1": block.mlp.fc1.weight, "fc2": block.mlp.fc2.weight}  # fmt: skip


def matrices(parameters: dict[str, Tensor], sizes: tuple[int, ...]) -> dict[str, tuple[Tensor, Tensor]]:
    """P and P^-T of every entry of ``MATRICES``: P = U diag(d) V^T, P^-T = U diag(1/d) V^T."""
    orthogonal = cayley(parameters["rotations"])
    u, v, d = orthogonal[0::2], orthogonal[1::2], parameters["spectra"][:, None, :]
    forward, inverse = (u * d) @ v.mT, (u / d) @ v.mT
    return {
        name: (forward[index, :size, :size], inverse[index, :size, :size])
        for index, (name, size) in enumerate(zip(MATRICES, sizes, strict=True))
    }


def clamp_weight(weight: Tensor, clip: Clip) -> Tensor:
    """``weight`` [out, in] clamped, group by group, to ``clip`` [out, groups, 1] times its range."""
    rows = weight.unflatten(1, (clip[0].shape[-2], -1))
    clamped: Tensor = rows.clamp(*limits(rows, clip)).flatten(1)
    return clamped


def rotate_rows(weight: Tensor, output: Tensor) -> Tensor:
    """Rows of every head's block of ``weight`` [heads * n, in] mixed by ``output`` [n, n]: y' = y (I (x) output)."""
    return apply_kronecker(weight.mT, None, output).mT


def quantized_block(
    block: Block, parameters: dict[str, Tensor], grids: Grids, x: Tensor, rotary: Rotary | None
) -> Tensor:
    """The block's output [batch, tokens, C] with transformed, clipped and rounded linears; differentiable.

    The two halves around attention are compiled: their graphs know tokens only, so one serves frame and global blocks.
    """
    found = matrices(parameters, matrix_sizes(block))
    rows = x.flatten(0, 1)
    qkv = compiled(_project)(block, parameters, grids, found, rows)
    attended = block.attn.attend(qkv.unflatten(0, x.shape[:2]), rotary).flatten(0, 1)
    out: Tensor = compiled(_finish)(block, parameters, grids, found, rows, attended)
    return out.view_as(x)


Pairs = dict[str, tuple[Tensor, Tensor]]


def _project(block: Block, parameters: dict[str, Tensor], grids: Grids, found: Pairs, x: Tensor) -> Tensor:
    """Queries, keys and values [tokens, 3C] of the tokens ``x`` [tokens, C]."""
    scale, attn = parameters["scale.qkv"], block.attn
    h = apply_kronecker(block.norm1(x) * scale, *_into(found, "qkv"))
    weights = _undone(attn.qkv.weight / scale, found["qkv.left"][1], found["qkv.right"][1]).chunk(3)
    biases = (None, None, None) if attn.qkv.bias is None else attn.qkv.bias.chunk(3)
    value, outputs = found["v"][0], []
    for part, weight, bias in zip(("q", "k", "v"), weights, biases, strict=True):
        clip = weight_clip(parameters, part)
        if part == "v":  # clipped before its output transform
            one = torch.ones_like(clip[0])
            weight, clip = rotate_rows(clamp_weight(weight, clip), value), (one, one.clone())
            bias = None if bias is None else rotate_rows(bias[:, None], value)[:, 0]
        outputs.append(_linear(part, h, rounded_weight(weight, clip, grids), bias, parameters, grids))
    return torch.cat(outputs, -1)


def _finish(
    block: Block, parameters: dict[str, Tensor], grids: Grids, found: Pairs, x: Tensor, attended: Tensor
) -> Tensor:
    """The block's output [tokens, C] from its input and the attention output."""
    h = apply_kronecker(attended, found["heads"][0], None)
    weight = _undone(block.attn.proj.weight, found["heads"][1], found["v"][1])
    weight = rounded_weight(weight, weight_clip(parameters, "proj"), grids)
    x = x + block.ls1(_linear("proj", h, weight, block.attn.proj.bias, parameters, grids))
    h = block.norm2(x)
    for part, linear in (("fc1", block.mlp.fc1), ("fc2", block.mlp.fc2)):
        scale = parameters[f"scale.{part}"]
        weight = _undone(linear.weight / scale, found[f"{part}.left"][1], found[f"{part}.right"][1])
        weight = rounded_weight(weight, weight_clip(parameters, part), grids)
        h = _linear(part, apply_kronecker(h * scale, *_into(found, part)), weight, linear.bias, parameters, grids)
        h = F.gelu(h) if part == "fc1" else h
    out: Tensor = x + block.ls2(h)
    return out


def _into(found: Pairs, name: str) -> tuple[Tensor, Tensor]:
    return found[f"{name}.left"][0], found[f"{name}.right"][0]


def _undone(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return apply_kronecker(weight.bfloat16(), left.bfloat16(), right.bfloat16()).float()


def _linear(
    part: str, x: Tensor, weight: Tensor, bias: Tensor | None, parameters: dict[str, Tensor], grids: Grids
) -> Tensor:
    return rounded_linear(x, weight, bias, input_clip(parameters, PARTS.index(part)), grids)
