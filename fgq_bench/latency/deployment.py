"""A model as it would be deployed, in every arm alike: aggregator in bf16, heads in fp32 (as the official code has it)."""

from __future__ import annotations

import torch
from torch import nn

from fgq_bench.kernels.kernel import Kernel
from fgq_bench.models.interface import ReconstructionModel, shared_copy
from fgq_bench.models.vggt import VGGT, VGGTConfig

RANDOM_SCALE = 0.02  # standard deviation of random weights


def random_model(config: VGGTConfig, seed: int, device: torch.device) -> VGGT:
    """A VGGT of this size with random weights: its latency is that of a trained one, no checkpoint is needed."""
    with torch.device("meta"):
        model = VGGT(config)
    model = model.to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dim() > 1:
            tensor.normal_(0, RANDOM_SCALE, generator=generator)
        else:
            tensor.fill_(config.layer_scale if name.endswith("gamma") else float(name.endswith("weight")))
    return model


def deployed(model: ReconstructionModel) -> VGGT:
    """A copy of a VGGT whose aggregator computes in bf16; float weights are cast, what kernels hold stays as it is."""
    copy = shared_copy(model)
    assert isinstance(copy, VGGT)
    kernels = [module for module in copy.aggregator.modules() if isinstance(module, Kernel)]
    inside = {id(part) for kernel in kernels for part in kernel.modules()}
    for module in [module for module in copy.aggregator.modules() if id(module) not in inside]:
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.to(torch.bfloat16), requires_grad=False))
    return copy
