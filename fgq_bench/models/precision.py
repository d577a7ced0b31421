"""The precision in which a model is evaluated, as a context, and the one in which its weights are stored for that."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fgq_bench.errors import UserError
from fgq_bench.models.interface import ModuleT, ReconstructionModel

CAST = (nn.Linear, nn.Conv2d)  # of the modules that autocast reaches, those whose parameters autocast casts


def evaluation_precision(device: torch.device, compute_dtype: str) -> torch.autocast:
    """Autocast to bf16 where ``compute_dtype`` is ``bfloat16``; otherwise the precision of weights and inputs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=compute_dtype == "bfloat16")


def stored_dtypes(model: ReconstructionModel, compute_dtype: str) -> dict[str, torch.dtype]:
    """Dtype of every stored tensor of a model that is evaluated in ``compute_dtype``, by name.

    All are fp32, but under autocast those that it casts to bf16 at every use: stored so from the start they take half
    the bytes, and not a bit of any output changes.
    """
    dtypes = dict.fromkeys(model.state_dict(), torch.float32)
    if compute_dtype == "bfloat16":
        for path, module in model.named_modules():
            if isinstance(module, CAST) and path.startswith(model.autocast):
                dtypes |= {f"{path}.{name}": torch.bfloat16 for name, _ in module.named_parameters(recurse=False)}
    return dtypes


def choose_precision(model: nn.Module, asked: str | None) -> str:
    """``asked``, or (None) the precision that the weights of ``model`` are stored for.

    Raises:
        UserError: float32 is asked of weights that are stored in bf16.
    """
    stored = "bfloat16" if any(each.dtype == torch.bfloat16 for each in model.parameters()) else "float32"
    if (asked, stored) == ("float32", "bfloat16"):
        raise UserError("compute_dtype float32: this model's weights are stored in bf16, it computes in bfloat16 only")
    return asked or stored


def in_float32(module: ModuleT) -> ModuleT:
    """``module`` with all parameters at least in fp32, for who learns or rounds them: itself, or a copy."""
    if all(each.dtype != torch.bfloat16 for each in module.parameters()):
        return module
    return copy.deepcopy(module).float()
