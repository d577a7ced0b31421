"""Losses and gradients of a batch: compiled on a CPU, replayed from a CUDA graph on a GPU.

The embedded networks are small: run operator by operator, a GPU waits for Python most of the time. A graph needs no
compilation, which takes minutes for a whole training step, and is launched at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_log = logging.getLogger(__name__)

Losses = Callable[..., dict[str, Tensor]]  # of input tensors
WARMUP = 3  # eager calls before a capture: cuBLAS handles, workspaces


class Gradients:
    """``gradients(*inputs)`` returns the losses by name and leaves the gradients of their sum in the parameters."""

    def __init__(
        self, losses: Losses, parameters: Sequence[nn.Parameter], device: torch.device, capturable: bool
    ) -> None:
        self.parameters, self.capturable = list(parameters), capturable and device.type == "cuda"
        self.losses = losses if device.type == "cuda" else torch.compile(losses, dynamic=False)
        self.captured: dict[tuple[torch.Size, ...], tuple[torch.cuda.CUDAGraph, list[Tensor], dict[str, Tensor]]] = {}

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Losses, each [], of ``inputs``; tensors of a captured graph are overwritten by its next replay."""
        if not self.capturable:
            return self._backward(*inputs)
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self.captured:
            try:
                self.captured[shapes] = self._capture(inputs)
            except RuntimeError as error:  # slower, and still right
                _log.warning("no CUDA graph (%s): training runs eagerly", str(error).splitlines()[0])
                self.capturable = False
                return self._backward(*inputs)
        graph, places, losses = self.captured[shapes]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value)
        graph.replay()
        return losses

    def _backward(self, *inputs: Tensor) -> dict[str, Tensor]:
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.zero_()  # in place: a graph writes to the same memory each time
        losses = self.losses(*inputs)
        torch.stack(list(losses.values())).sum().backward()
        return losses

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], dict[str, Tensor]]:
        places = [each.clone() for each in inputs]
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP):
                self._backward(*places)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            losses = self._backward(*places)
        return graph, places, {name: value.detach() for name, value in losses.items()}
