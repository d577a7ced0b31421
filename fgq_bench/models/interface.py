"""What every reconstruction model offers to quantizers, tasks and reports."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

import pydantic
import torch
from torch import Tensor, nn

from fgq_bench.errors import UserError
from fgq_bench.models.layers import Rotary
from fgq_bench.models.predictions import Predictions

if TYPE_CHECKING:
    from fgq_bench.models.alternating import AlternatingModel

ModuleT = TypeVar("ModuleT", bound=nn.Module)
ROLES = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # linears of a transformer block
TOKEN_TYPES = ("camera", "register", "patch")
Count = Annotated[int, pydantic.Field(ge=0, le=2**14)]  # of a configuration: ten times what any model has
Size = Annotated[int, pydantic.Field(ge=1, le=2**14)]


State = Any  # a forward pass between two stages: each model's own, immutable


@dataclass(frozen=True)
class Step:
    """One stage of a forward pass: a module and what it is about to be given."""

    name: str  # of the module; its linears' names start with it
    module: nn.Module
    x: Tensor  # [batch, tokens, C]; a global block's tokens are those of all frames in a row
    rotary: Rotary | None
    token_types: Tensor  # [tokens] int64, index into TOKEN_TYPES
    full_precision: bool = False  # whether it leaves an autocast context, as heads do


def block_names(targets: list[str]) -> list[str]:
    """Names of the transformer blocks all of whose linears are among ``targets``, in order."""
    found = dict.fromkeys(name.removesuffix(f".{ROLES[0]}") for name in targets if name.endswith(f".{ROLES[0]}"))
    return [block for block in found if all(f"{block}.{role}" in targets for role in ROLES)]


def call_stage(module: nn.Module, x: Tensor, rotary: Rotary | None) -> Any:
    """Output of a stage's module for ``x``."""
    return module(x) if rotary is None else module(x, rotary)


def run_stage(step: Step, module: nn.Module | None = None) -> Any:
    """Output of a stage, or of ``module`` in its place; under autocast, heads leave it (``Step.full_precision``)."""
    module = step.module if module is None else module
    if not step.full_precision:
        return call_stage(module, step.x, step.rotary)
    with torch.autocast(step.x.device.type, enabled=False):
        return call_stage(module, step.x, step.rotary)


def token_types(camera: int, registers: int, total: int, device: torch.device) -> Tensor:
    """Types [total] of one frame's tokens: ``camera`` camera (or class) tokens, then registers, then patches."""
    types = torch.full((total,), TOKEN_TYPES.index("patch"), device=device)
    types[: camera + registers] = TOKEN_TYPES.index("register")
    types[:camera] = TOKEN_TYPES.index("camera")
    return types


class ModelConfig(ABC):
    """Sizes of a model: every family of networks has a frozen dataclass of plain values and tuples, with these fields.

    ``__post_init__`` of a family raises ValueError where sizes do not fit together.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = {"extra": "forbid"}

    dim: Size  # width of the alternating blocks
    patch: Size  # pixels
    registers: Count  # per frame
    layer_scale: pydantic.FiniteFloat  # initial value
    image_size: Size  # pixels, of a square image as in training

    @property
    @abstractmethod
    def special_tokens(self) -> int:
        """Tokens of a frame that are no patches."""

    @abstractmethod
    def build(self) -> AlternatingModel:
        """A network of these sizes with random weights."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The configuration whose ``to_dict`` is ``text`` in JSON; raises ValueError that names the first wrong key."""
        try:
            return pydantic.TypeAdapter(cls).validate_json(text, strict=True)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])) from None


def check_multiple(key: str, channels: int, divisor: int) -> None:
    """Raise ValueError where the ``channels`` that the configuration's ``key`` splits are no multiple of ``divisor``."""
    if channels % divisor:
        raise ValueError(f"{key}: {channels} channels are no multiple of {divisor}")


class ReconstructionModel(nn.Module, ABC):
    """Images to cameras, depth and points, in stages: transformer blocks, then the camera head or its decoder.

    A forward pass is ``begin``, then ``next_stage`` and ``advance`` in turn until no stage is left, then ``finish``
    (the dense heads). States are values: whoever holds one may run the rest of the network from there, as often as
    he likes (``resume``), with the outputs of changed stages.

    ``components`` maps each part of the network to prefixes of its parameter names; the first match wins.
    ``autocast`` are prefixes of the names that an autocast context around a pass reaches, ``ignored`` those of a public
    checkpoint's keys that are never read. ``has_camera_token``: the pose is read from a token of its own.
    """

    components: ClassVar[dict[str, tuple[str, ...]]]
    autocast: ClassVar[tuple[str, ...]]
    ignored: ClassVar[tuple[str, ...]] = ()
    has_camera_token: ClassVar[bool]
    config: ModelConfig

    @abstractmethod
    def linear_groups(self) -> dict[str, list[str]]:
        """Names of the linears that may be quantized, by group: ``aa``, ``camera``, ``dino``.

        ``aa`` lists a frame block, then the global block of its level, level by level.
        """

    @abstractmethod
    def begin(self, images: Tensor, dense: bool = True) -> State:
        """A pass of ``images`` [B, S, 3, H, W] in [0, 1] before its first stage.

        Without ``dense`` it keeps nothing but the current tokens, and ends before the dense heads.
        """

    @abstractmethod
    def next_stage(self, state: State) -> Step | None:
        """The stage that runs next, None where only the dense heads are left."""

    @abstractmethod
    def advance(self, state: State, output: Any) -> State:
        """The pass after the stage that ``next_stage`` names, given that stage's output."""

    @abstractmethod
    def finish(self, state: State) -> Predictions:
        """Predictions of a pass (begun with ``dense``) in which no stage is left."""

    def add_camera_tokens(self, tokens: Tensor) -> None:
        """Show the camera head ``tokens`` [n, 2C] behind those of the frames, in every later pass.

        Raises:
            UserError: this model has no camera token.
        """
        raise UserError(f"{type(self).__name__} has no camera token: its camera head cannot be shown any")

    def run_stages(self, state: State) -> State:
        """The pass after all stages that are left."""
        while (step := self.next_stage(state)) is not None:
            state = self.advance(state, run_stage(step))
        return state

    def resume(self, state: State) -> Predictions:
        """Run all that is left of a pass."""
        return self.finish(self.run_stages(state))

    def forward(self, images: Tensor) -> Predictions:
        """Predict for ``images`` [B, S, 3, H, W] in [0, 1]."""
        return self.resume(self.begin(images))

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Predictions: ...  # noqa: D102

    def component_of(self, name: str) -> str:
        """Component of the parameter ``name``; raises KeyError where none matches."""
        for component, prefixes in self.components.items():
            if name.startswith(prefixes):
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
