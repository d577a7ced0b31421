"""What every reconstruction model offers to quantizers, tasks and reports."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from fgq_bench.models.predictions import Predictions

ModuleT = TypeVar("ModuleT", bound=nn.Module)
ROLES = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # linears of a transformer block


class ReconstructionModel(nn.Module, ABC):
    """Images to cameras, depth and points.

    ``components`` maps each part of the network to the prefix of its parameter names; the first match wins.
    """

    components: ClassVar[dict[str, str]]

    @abstractmethod
    def linear_groups(self) -> dict[str, list[str]]:
        """Names of the linears that may be quantized, by group: ``aa``, ``camera``, ``dino``."""

    @abstractmethod
    def forward(self, images: Tensor) -> Predictions:
        """Predict for ``images`` [B, S, 3, H, W] in [0, 1]."""

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Predictions: ...  # noqa: D102

    def component_of(self, name: str) -> str:
        """Component of the parameter ``name``; raises KeyError where none matches."""
        for component, prefix in self.components.items():
            if name.startswith(prefix):
                return component
        raise KeyError(name)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def shared_copy(model: ModuleT) -> ModuleT:
    """A copy of ``model`` whose modules can be exchanged freely; parameters and buffers are shared, not copied."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    return copy.deepcopy(model, memo)
