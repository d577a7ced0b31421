"""Run artefacts through the whole CUDA path on fake tensors: ``python -m tests.gpu.fake_networks MODEL ARTEFACT...``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from fgq_bench.kernels.placement import install
from fgq_bench.kernels.registry import find_backend
from fgq_bench.latency.deployment import deployed
from fgq_bench.models.checkpoints import load_model
from fgq_bench.quant.artifact import QuantizedModel
from tests.gpu.fake_cuda import fake_cuda


def move(model: nn.Module) -> None:
    """Fake weights of the same sizes on the fake GPU, in place."""

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")

    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(fake(parameter), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, fake(buffer))


def main(checkpoint: str, artefacts: list[Path]) -> None:
    """Print, for each artefact, what was launched and which kernels its layers got."""
    model = load_model("vggt-1b", checkpoint)  # a micro one; before tensors are fake, as files hold real ones
    loaded = {path.stem: QuantizedModel.load(path) for path in artefacts}
    with fake_cuda() as launches, torch.inference_mode():
        move(model)
        images = torch.rand(1, 2, 3, 84, 84, device="cuda")
        for name, quantized in loaded.items():
            launches.clear()
            for linear in quantized.linears.values():
                move(linear)
            fast, placement = install(quantized, model, find_backend("cuda"))
            points = deployed(fast)(images.to(torch.bfloat16)).points
            assert points.device.type == "cuda" and points.shape == (1, 2, 84, 84, 3), name
            kernels = sorted({seat.kernel for seat in placement.seats.values()})
            print(name, sorted(set(launches)), kernels, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], [Path(each) for each in sys.argv[2:]])
