"""How a model is made: its sizes, where its weights start, what it is trained for, and the curriculum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.interface import ModelConfig
from fgq_bench.models.training.batches import Batch
from fgq_bench.models.training.recipe import Phase

Trained = TypeVar("Trained", bound=AlternatingModel)


class Objective(nn.Module, ABC, Generic[Trained]):
    """Losses of a family. Its own parameters are aids: learned with the network, thrown away afterwards.

    Attributes:
        capturable: whether the losses never wait for the device, so that a CUDA graph can hold them.
    """

    capturable: ClassVar[bool] = True

    @abstractmethod
    def forward(self, model: Trained, batch: Batch, frame: Tensor) -> dict[str, Tensor]:
        """Weighted losses of a batch by name; their sum is minimised.

        Args:
            frame: [1] int64, the frame whose turn it is, for heads that need not see all of them.
        """


@dataclass(frozen=True)
class Training:
    """All that makes a model, but for the seed."""

    config: ModelConfig
    initialise: Callable[[Any], None]  # changes a fresh network's weights to those that training starts from
    objective: Callable[[Any], Objective[Any]]  # of the configuration
    recipe: tuple[Phase, ...]
