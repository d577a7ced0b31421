"""How to add a quantization method.

A quantizer is a compiler: a float model, a scheme and (if it wants one) a calibration set go in, a
``QuantizedModel`` comes out. It never executes anything: accuracy, bytes and latency are measured later on its
product, by any backend. Here is a complete method, round to nearest::

    class RTN(Quantizer):
        '''Round every target weight to the nearest grid point.'''

        def quantize(self, job: Job) -> QuantizedModel:
            return job.product({name: job.round(name) for name in job.targets})

``job`` carries everything the method may look at:

- ``job.model``: the float model. It must be left untouched.
- ``job.targets``: names of the linears in scope, in the order in which the network runs them.
- ``job.scheme``: the ``Scheme`` asked for. Its fields are data: no method branches on "4 bits".
- ``job.seed``: the seed of every random choice (say ``random = true`` in the card if there is one).
- ``job.statistics(name)``: magnitudes and Hessian of a target's calibration inputs; ``job.calibration`` offers the
  streamed pass itself (say ``calibrated = true`` in the card).
- ``job.round(name, ...)``: round a target's (or a changed) weight to the scheme's grid, with input transforms, clipping
  or another rounding rule.
- ``job.product(linears, overrides)``: the result; ``overrides`` are float tensors that folding has changed.

A method that leaves some targets float, or rounds some to other bits, overrides ``uniform``: the artefact's header then
lists its exceptions, and an artefact of any other method that has exceptions is refused.

Hyper-parameters are fields of the nested ``Options`` model, filled from the method's card
(``methods/<name>.toml``), its preset and the user's ``--set KEY=VALUE``::

    class Options(Quantizer.Options):
        alpha: float = 0.5

To add yours: (1) write ``fgq_bench/quantizers/mymethod.py``, (2) write ``methods/mymethod.toml``, (3) run the contract
test, which picks up every card, (4) run ``fgq-bench run -m mymethod -b w4a4 -d procedural-objects``.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.statistics import LinearStatistics
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear, Rounder, find_linear, round_to_nearest
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Transform


@dataclass(frozen=True)
class Job:
    """What a quantizer is given."""

    model: ReconstructionModel
    targets: list[str]
    scheme: Scheme
    seed: int
    header: dict[str, Any] = field(default_factory=dict)  # written into the product
    data: Calibration | None = None  # for methods whose card says ``calibrated``

    @property
    def calibration(self) -> Calibration:
        """The float model on the calibration manifest."""
        assert self.data is not None, "the method's card must say calibrated = true"
        return self.data

    def statistics(self, name: str, patches_only: bool = False) -> LinearStatistics:
        """Statistics of the inputs of target ``name``, captured once for all targets; ``patches_only`` leaves camera
        and register tokens out.
        """
        return self.calibration.statistics(name, self.targets, patches_only)

    def round(
        self,
        name: str,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        transforms: Sequence[Transform] = (),
        act_clip: Tensor | None = None,
        rounder: Rounder = round_to_nearest,
        scheme: Scheme | None = None,
    ) -> QuantLinear:
        """Round the linear ``name`` to the scheme's grid.

        Args:
            weight, bias: changed ones [out, in], [out] in the stead of the model's own (both, or none).
            transforms: online transforms of its input, in order; they are undone in the weight.
            act_clip: [2] factors on the input's minimum and maximum.
            rounder: how the transformed weight is rounded.
            scheme: another scheme for this linear (mixed precision).
        """
        if weight is None:
            weight, bias = find_linear(self.model, name)
        return QuantLinear.from_float(
            weight, bias, scheme or self.scheme, name, transforms=transforms, act_clip=act_clip, rounder=rounder
        )

    def product(
        self,
        linears: dict[str, QuantLinear],
        overrides: dict[str, Tensor] | None = None,
        camera_tokens: Tensor | None = None,
    ) -> QuantizedModel:
        """The quantized model made of ``linears``, changed float tensors and camera tokens [n, 2C] that the camera
        head sees beside its own; all else stays float.
        """
        return QuantizedModel(linears, self.header, overrides or {}, camera_tokens)

    @property
    def identity(self) -> str:
        """Of the compilation, for what is kept of an interrupted one: everything that decides the outcome."""
        return hashlib.sha256(json.dumps(self.header, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Quantizer(ABC):
    """Base of every method; see the module's docstring for the tutorial."""

    class Options(pydantic.BaseModel):
        """Hyper-parameters; unknown names are refused."""

        model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    options: Options

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def random(self) -> bool:
        """Whether these options leave anything random, for a method whose card says that it is; else it runs once."""
        return True

    @property
    def uniform(self) -> bool:
        """Whether, with these options, every target becomes a linear at the scheme asked for. Override it where some
        stay float or get other bits: an artefact that does so is refused otherwise.
        """
        return True

    @abstractmethod
    def quantize(self, job: Job) -> QuantizedModel:
        """Compile ``job.model``; targets that are left out stay float."""
