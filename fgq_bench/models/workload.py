"""How much a forward pass multiplies: floating-point operations of every linear, found without computing anything."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from fgq_bench.models.interface import ReconstructionModel, call_stage
from fgq_bench.models.layers import at_least_float32
from fgq_bench.models.watching import watched_inputs


def _shape(tensor: Tensor) -> Tensor:
    """``tensor`` without its values; at least in fp32, as this pass runs outside autocast."""
    empty = at_least_float32(tensor.detach().to("meta"))
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def linear_flops(model: ReconstructionModel, frames: int, image_hw: tuple[int, int]) -> dict[str, float]:
    """Operations (two per multiply-add) of every ``nn.Linear`` in one pass over ``frames`` images, by name; those
    of the dense heads are convolutions and not among them. The pass runs on the meta device: shapes only.
    """
    tensors = [*model.parameters(), *model.buffers()]
    memo: dict[int, Any] = {id(each): _shape(each) for each in tensors}
    shapes = copy.deepcopy(model, memo)
    linears = {name: module for name, module in shapes.named_modules() if isinstance(module, nn.Linear)}
    flops = dict.fromkeys(linears, 0.0)

    def watch(name: str, x: Tensor) -> None:
        flops[name] += 2.0 * x.numel() * linears[name].out_features

    with torch.no_grad(), watched_inputs(linears, watch):
        state = shapes.begin(torch.empty(1, frames, 3, *image_hw, device="meta"), dense=False)
        while (step := shapes.next_stage(state)) is not None:  # not run_stage: this device knows no autocast
            state = shapes.advance(state, call_stage(step.module, step.x, step.rotary))
    return flops
