"""The streamed pass: the float model runs on all calibration clips together, one stage (block) at a time.

Memory holds the model, and of every clip the tokens that enter and leave the current stage: it does not grow with the
number of blocks. A global block gets the tokens of all frames of a clip in a row, so cross-frame attention takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from fgq_bench.errors import UserError
from fgq_bench.models.interface import ReconstructionModel, State, Step, call_stage
from fgq_bench.models.layers import Block, Rotary
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.models.watching import watched_inputs


@dataclass
class Stage:
    """One stage of the network with its inputs for every clip."""

    name: str  # of the module; its linears' names start with it
    module: nn.Module
    inputs: list[Tensor]  # per clip [batch, tokens, C]: a frame block's batch are the frames, a global block's is 1
    rotary: Rotary | None
    token_types: Tensor  # [tokens], index into TOKEN_TYPES
    compute_dtype: str  # ``float32`` or ``bfloat16`` (autocast)

    @cached_property
    def outputs(self) -> list[Tensor]:
        """The float model's outputs; computed when first asked for (hooks placed before see every input)."""
        return [self.run(x) for x in self.inputs]

    @torch.no_grad()
    def run(self, x: Tensor) -> Tensor:
        """The module's output for one input, in the precision of the pass."""
        with evaluation_precision(x.device, self.compute_dtype):
            out: Tensor = call_stage(self.module, x, self.rotary)
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
        with watched_inputs({name: block}, lambda _, x: inputs.append(x)):
            for x in self.inputs:
                self.run(x)
        return Stage(name, block, inputs, self.rotary, self.token_types, self.compute_dtype)

    def linears(self, targets: Iterable[str]) -> dict[str, nn.Linear]:
        """Those of ``targets`` that belong to this stage, by name."""
        return linears_inside(self.module, self.name, targets)


def linears_inside(module: nn.Module, name: str, targets: Iterable[str]) -> dict[str, nn.Linear]:
    """Those of ``targets`` that are linears of ``module``, which the model calls ``name``, by their full names."""
    prefix = f"{name}."
    found = {target: module.get_submodule(target.removeprefix(prefix)) for target in targets if target.startswith(prefix)}  # fmt: skip
    return {target: linear for target, linear in found.items() if isinstance(linear, nn.Linear)}


def stream(
    model: ReconstructionModel, clips: Iterable[Tensor], compute_dtype: str, cross_frame: bool = True
) -> Iterator[Stage]:
    """Stages of ``model`` in the order of execution, each with its inputs for all ``clips``.

    Args:
        clips: images [S, 3, H, W] in [0, 1] each; all of one size.
        compute_dtype: ``float32`` or ``bfloat16`` (autocast), as the model is evaluated.
        cross_frame: False gives every block its frames one by one, so that global attention never sees two frames
            (the fault of QuantVGGT's released calibration; for audits).
    """
    states, shapes = [], []
    for images in clips:
        states.append(begin(model, images, compute_dtype))
        shapes.append(images.shape)
    check_one_size(shapes)
    yield from stream_from(model, states, compute_dtype, cross_frame)


def begin(model: ReconstructionModel, images: Tensor, compute_dtype: str) -> State:
    """A pass of one clip's ``images`` [S, 3, H, W] before its first stage."""
    with torch.no_grad(), evaluation_precision(model.device, compute_dtype):
        return model.begin(images[None].to(model.device), dense=False)


def stream_from(
    model: ReconstructionModel,
    states: list[State],
    compute_dtype: str,
    cross_frame: bool = True,
    after: Callable[[str], None] = lambda stage: None,
) -> Iterator[Stage]:
    """``stream`` from passes that have come to the same stage: ``states``, one for each clip, which go on in place.

    ``after(stage)`` is called once all of them have gone through it.
    """
    while True:
        with torch.no_grad(), evaluation_precision(model.device, compute_dtype):
            steps = [step for state in states if (step := model.next_stage(state)) is not None]
        if not steps:
            return
        whole = steps[0].x.shape
        if not cross_frame:
            steps = [_frame_by_frame(step) for step in steps]
        first = steps[0]
        apart = first.x.shape != whole
        dtype = "float32" if first.full_precision else compute_dtype
        stage = Stage(first.name, first.module, [s.x for s in steps], first.rotary, first.token_types, dtype)
        name = first.name
        del steps, first
        yield stage
        outputs = stage.outputs
        del stage
        with torch.no_grad(), evaluation_precision(model.device, compute_dtype):
            for index, state in enumerate(states):
                output = outputs.pop(0)
                states[index] = model.advance(state, output.reshape(whole) if apart else output)
                del state, output
        after(name)


def check_one_size(shapes: Iterable[torch.Size]) -> None:
    """Raise UserError unless all clips' ``shapes`` [S, 3, H, W] are one."""
    if len(set(shapes)) > 1:
        raise UserError("calibration clips differ in their number of frames or image size; one manifest, one size")


def _frame_by_frame(step: Step) -> Step:
    """A block's step with the frames that lie in a row side by side, as a batch."""
    tokens = period(step.token_types)
    if step.rotary is None or tokens == len(step.token_types):
        return step
    rotary, types = (step.rotary[0][:tokens], step.rotary[1][:tokens]), step.token_types[:tokens]
    return replace(step, x=step.x.reshape(-1, tokens, step.x.shape[-1]), rotary=rotary, token_types=types)


def period(types: Tensor) -> int:
    """Tokens of one frame: the smallest period of the token types [tokens] of frames in a row.

    >>> period(torch.tensor([0, 1, 2, 2, 0, 1, 2, 2]))
    4
    """
    count = len(types)
    return next(n for n in range(1, count + 1) if not count % n and bool((types.view(-1, n) == types[:n]).all()))
