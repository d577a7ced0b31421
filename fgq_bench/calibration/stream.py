"""The streamed pass: the float model runs on all calibration clips together, one stage (block) at a time.

Memory holds the model, and of every clip the tokens that enter and leave the current stage: it does not grow with the
number of blocks. A global block gets the tokens of all frames of a clip in a row, so cross-frame attention takes part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from fgq_bench.errors import UserError
from fgq_bench.models.interface import ReconstructionModel, Step, Steps
from fgq_bench.models.layers import Block, Rotary


@dataclass
class Stage:
    """One stage of the network with its inputs for every clip."""

    name: str  # of the module; its linears' names start with it
    module: nn.Module
    inputs: list[Tensor]  # per clip [batch, tokens, C]: a frame block's batch are the frames, a global block's is 1
    rotary: Rotary | None
    token_types: Tensor  # [tokens], index into TOKEN_TYPES
    autocast: torch.dtype | None

    @cached_property
    def outputs(self) -> list[Tensor]:
        """The float model's outputs; computed when first asked for (hooks placed before see every input)."""
        return [self.run(x) for x in self.inputs]

    @torch.no_grad()
    def run(self, x: Tensor) -> Tensor:
        """The module's output for one input, in the precision of the pass."""
        with torch.autocast(x.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            out: Tensor = self.module(x) if self.rotary is None else self.module(x, self.rotary)
        return out

    def blocks(self) -> Iterator[Stage]:
        """The transformer blocks of this stage, each with every input that it gets: itself, or those inside it."""
        if isinstance(self.module, Block):
            yield self
            return
        for name, block in self.module.named_modules():
            if isinstance(block, Block):
                yield self._inner(f"{self.name}.{name}", block)

    def _inner(self, name: str, block: Block) -> Stage:
        inputs: list[Tensor] = []
        handle = block.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        try:
            for x in self.inputs:
                self.run(x)
        finally:
            handle.remove()
        return Stage(name, block, inputs, None, self.token_types, self.autocast)

    def linears(self, targets: Iterable[str]) -> dict[str, nn.Linear]:
        """Those of ``targets`` that belong to this stage, by name."""
        prefix = f"{self.name}."
        found = {name: self.module.get_submodule(name.removeprefix(prefix)) for name in targets if name.startswith(prefix)}  # fmt: skip
        return {name: linear for name, linear in found.items() if isinstance(linear, nn.Linear)}


def stream(model: ReconstructionModel, clips: Iterable[Tensor], compute_dtype: str) -> Iterator[Stage]:
    """Stages of ``model`` in the order of execution, each with its inputs for all ``clips``.

    Args:
        clips: images [S, 3, H, W] in [0, 1] each; all of one size.
        compute_dtype: ``float32`` or ``bfloat16`` (autocast), as the model is evaluated.
    """
    autocast = torch.bfloat16 if compute_dtype == "bfloat16" else None
    passes, shapes = [], set()
    for images in clips:
        begun = model.steps(images[None].to(model.device))
        passes.append((begun, _advance(begun, None, autocast)))
        shapes.add(images.shape)
    if len(shapes) > 1:
        raise UserError("calibration clips differ in their number of frames or image size; one manifest, one size")
    while True:
        steps = [step for _, step in passes]
        first = steps[0]
        stage = Stage(
            first.name,
            first.module,
            [s.x for s in steps],
            first.rotary,
            first.token_types,
            None if first.full_precision else autocast,
        )
        del steps, first
        yield stage
        outputs = stage.outputs
        del stage
        try:
            passes = [(begun, _advance(begun, outputs.pop(0), autocast)) for begun, _ in passes]
        except StopIteration:
            return


@torch.no_grad()
def _advance(begun: Steps, output: Tensor | None, autocast: torch.dtype | None) -> Step:
    """Go on to the next stage; what lies between the stages follows the autocast too."""
    device = "cuda" if torch.cuda.is_available() and output is not None and output.is_cuda else "cpu"
    with torch.autocast(device, dtype=autocast, enabled=autocast is not None):
        return begun.send(output)
