"""The learnable parts of QuantVGGT on one transformer block, and the block with them in place (spec: quantvggt, 1).

Every linear's input is rotated by a random Hadamard matrix and divided by a learned channel scale c (or the other way
round); its weight undoes both. Clipping of weights (LWC) and inputs (LAC) is learned with c.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.models.interface import ROLES
from fgq_bench.models.layers import Block, Rotary
from fgq_bench.quant.hadamard import hadamard_factors, hadamard_matrix
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import apply_kronecker
from fgq_bench.quantizers.learned_linear import (
    Grids,
    initial_clips,
    input_clip,
    rounded_linear,
    rounded_weight,
    weight_clip,
)
from fgq_bench.torch_compile import compiled

QKV, PROJ, FC1, FC2 = ROLES
Factors = tuple[Tensor, Tensor]


def rotation_factors(width: int, device: torch.device) -> Factors:
    """Two matrices whose Kronecker product is the orthonormal Hadamard matrix of ``width``, in fp32."""
    first, *others = hadamard_factors(width)
    right = torch.ones(1, 1, dtype=torch.long)
    for order in others:
        right = torch.kron(right, hadamard_matrix(order))
    left = hadamard_matrix(first)
    return (left / len(left) ** 0.5).float().to(device), (right / len(right) ** 0.5).float().to(device)


def initial_parameters(
    block: Block, scales: dict[str, Tensor], signs: dict[str, Tensor], scheme: Scheme
) -> dict[str, Tensor]:
    """Starting values by name: ``scale.<role>`` c [in], ``signs.<role>`` [in] (none: no rotation), clipping logits.

    Args:
        scales, signs: by role (``ROLES``), [in] each.
    """
    parameters = {f"scale.{role}": scales[role].float() for role in ROLES}
    parameters |= {f"signs.{role}": value.float() for role, value in signs.items()}
    parameters |= initial_clips({role: block.get_parameter(f"{role}.weight") for role in ROLES}, scheme)
    return {name: value.to(block.norm1.weight.device) for name, value in parameters.items()}


def smoothed_block(
    block: Block,
    parameters: dict[str, Tensor],
    factors: dict[str, Factors],
    scale_first: bool,
    grids: Grids,
    x: Tensor,
    rotary: Rotary | None,
) -> Tensor:
    """The block's output [batch, tokens, C] with rotated, scaled, clipped and rounded linears; differentiable.

    Args:
        factors: ``rotation_factors`` by role; not read without signs.
        scale_first: whether the input is divided by c before it is rotated, not after.
    """
    rows = x.flatten(0, 1)
    qkv = compiled(_project)(block, parameters, factors, scale_first, grids, rows)
    attended = block.attn.attend(qkv.unflatten(0, x.shape[:2]), rotary).flatten(0, 1)
    out: Tensor = compiled(_finish)(block, parameters, factors, scale_first, grids, rows, attended)
    return out.view_as(x)


def _project(
    block: Block, parameters: dict[str, Tensor], factors: dict[str, Factors], scale_first: bool, grids: Grids, x: Tensor
) -> Tensor:
    return _linear(QKV, block.norm1(x), block.attn.qkv, parameters, factors, scale_first, grids)


def _finish(
    block: Block,
    parameters: dict[str, Tensor],
    factors: dict[str, Factors],
    scale_first: bool,
    grids: Grids,
    x: Tensor,
    attended: Tensor,
) -> Tensor:
    x = x + block.ls1(_linear(PROJ, attended, block.attn.proj, parameters, factors, scale_first, grids))
    h = F.gelu(_linear(FC1, block.norm2(x), block.mlp.fc1, parameters, factors, scale_first, grids))
    out: Tensor = x + block.ls2(_linear(FC2, h, block.mlp.fc2, parameters, factors, scale_first, grids))
    return out


def _linear(
    role: str,
    x: Tensor,
    linear: torch.nn.Linear,
    parameters: dict[str, Tensor],
    factors: dict[str, Factors],
    scale_first: bool,
    grids: Grids,
) -> Tensor:
    scale, signs, weight = parameters[f"scale.{role}"], parameters.get(f"signs.{role}"), linear.weight
    if scale_first:
        x, weight = x / scale, weight * scale
    if signs is not None:
        x, weight = (apply_kronecker(each * signs, *factors[role]) for each in (x, weight))
    if not scale_first:
        x, weight = x / scale, weight * scale
    rounded = rounded_weight(weight, weight_clip(parameters, role), grids)
    return rounded_linear(x, rounded, linear.bias, input_clip(parameters, ROLES.index(role)), grids)
