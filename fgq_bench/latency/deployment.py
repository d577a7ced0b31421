"""A model as it would be deployed, in every arm alike: bf16 where autocast reaches, fp32 elsewhere (as the official code)."""

from __future__ import annotations

import torch
from torch import nn

from fgq_bench.kernels.kernel import Kernel
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.interface import ModelConfig, shared_copy
from fgq_bench.models.layers import Block

RANDOM_SCALE = 0.02  # standard deviation of random weights


def random_model(config: ModelConfig, seed: int, device: torch.device) -> AlternatingModel:
    """A network of this size with random weights: its latency is that of a trained one, no checkpoint is needed."""
    with torch.device("meta"):
        model = config.build()
    model = model.to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dim() > 1:
            tensor.normal_(0, RANDOM_SCALE, generator=generator)
        else:
            tensor.fill_(config.layer_scale if name.endswith("gamma") else float(name.endswith("weight")))
    return model


def deployed(model: AlternatingModel) -> AlternatingModel:
    """A copy that computes in bf16 where autocast would; float weights are cast, what kernels hold stays as it is.

    On a GPU every block is compiled, in the float arm and in the quantized ones: what lies between the linears (rotary
    tables, LayerScale, residuals) takes a third of one frame's time there if every operator is a launch of its own.
    """
    copy = shared_copy(model)
    kernels = [module for module in copy.modules() if isinstance(module, Kernel)]
    inside = {id(part) for kernel in kernels for part in kernel.modules()}
    for path, module in [(path, module) for path, module in copy.named_modules() if id(module) not in inside]:
        for name, parameter in list(module.named_parameters(prefix=path, recurse=False)):
            if name.startswith(model.autocast):
                cast = nn.Parameter(parameter.to(torch.bfloat16), requires_grad=False)
                setattr(module, name.rpartition(".")[2], cast)
    if copy.device.type == "cuda":
        for block in (module for module in copy.modules() if isinstance(module, Block)):
            block.compile(dynamic=False)
    return copy
