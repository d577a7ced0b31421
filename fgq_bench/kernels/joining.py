"""Parts of a split ``qkv`` that quantise their input alike are one linear again: one quantiser, one product.

Methods that round q, k and v apart store three linears. Where transforms, scheme and the input's grid agree, their
codes, scales and biases lie below each other in one ``QuantLinear``, and its output is theirs, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap

import torch
from torch import Tensor, nn

from fgq_bench.quant.linear import QuantLinear


def same_transforms(first: nn.ModuleList, second: nn.ModuleList) -> bool:
    """Whether both do the same to an input: kinds and stored numbers, in order."""
    return len(first) == len(second) and all(starmap(_same_transform, zip(first, second, strict=True)))


def _same_transform(first: nn.Module, second: nn.Module) -> bool:
    if first is second:
        return True
    ours, theirs = dict(first.named_buffers()), dict(second.named_buffers())
    return (
        type(first) is type(second) and ours.keys() == theirs.keys() and all(_equal(ours[k], theirs[k]) for k in ours)
    )


def _equal(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None:
        return first is second
    return torch.equal(first, second)


def quantise_alike(first: QuantLinear, second: QuantLinear) -> bool:
    """Whether both turn an input into the same codes, and read them on a weight grid of the same form."""
    grids = ("act_clip", "act_scale", "act_zero")
    return (
        first.scheme == second.scheme
        and all(_equal(getattr(first, name), getattr(second, name)) for name in grids)
        and (first.weight_zero is None) == (second.weight_zero is None)
        and same_transforms(first.transforms, second.transforms)
    )


def joined(parts: Sequence[QuantLinear]) -> QuantLinear | None:
    """One linear whose outputs are those of ``parts`` side by side; None where they do not quantise alike."""
    first = parts[0]
    if first.weight_scale is None or not all(quantise_alike(first, part) for part in parts[1:]):
        return None
    whole = QuantLinear(
        first.scheme,
        torch.cat([part.codes for part in parts]),
        torch.cat([part.weight_scale for part in parts if part.weight_scale is not None]),
        None if first.weight_zero is None else torch.cat([p.weight_zero for p in parts if p.weight_zero is not None]),
        _biases(parts),
        first.act_clip,
        list(first.transforms),  # type: ignore[arg-type]
        act_scale=first.act_scale,
        act_zero=first.act_zero,
    )
    whole.executor = first.executor
    return whole


def _biases(parts: Sequence[QuantLinear]) -> Tensor | None:
    if all(part.bias is None for part in parts):
        return None
    return torch.cat([torch.zeros(p.out_features, device=p.codes.device) if p.bias is None else p.bias for p in parts])
