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
- ``job.seed``: the seed of every random choice.
- ``job.round(name, weight=None)``: round a target's (or a changed) weight to the scheme's grid.
- ``job.product(linears, overrides)``: the result; ``overrides`` are float tensors that folding has changed.

Hyper-parameters are fields of the nested ``Options`` model, filled from the method's card
(``methods/<name>.toml``), its preset and the user's ``--set KEY=VALUE``::

    class Options(Quantizer.Options):
        alpha: float = 0.5

To add yours: (1) write ``fgq_bench/quantizers/mymethod.py``, (2) write ``methods/mymethod.toml``, (3) add a row to
``tests/quantizers/test_contract.py``, (4) run ``fgq-bench run -m mymethod -b w4a4 -d procedural-objects``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import pydantic
from torch import Tensor, nn

from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme


@dataclass(frozen=True)
class Job:
    """What a quantizer is given."""

    model: ReconstructionModel
    targets: list[str]
    scheme: Scheme
    seed: int
    header: dict[str, Any] = field(default_factory=dict)  # written into the product

    def linear(self, name: str) -> nn.Linear:
        """The float linear called ``name``."""
        module = self.model.get_submodule(name)
        assert isinstance(module, nn.Linear), name
        return module

    def round(self, name: str, weight: Tensor | None = None) -> QuantLinear:
        """Round the weight of ``name`` (or ``weight`` [out, in] in its stead) to the nearest grid point."""
        linear = self.linear(name)
        return QuantLinear.from_float(linear.weight if weight is None else weight, linear.bias, self.scheme, name)

    def product(self, linears: dict[str, QuantLinear], overrides: dict[str, Tensor] | None = None) -> QuantizedModel:
        """The quantized model made of ``linears`` and changed float tensors; all else stays float."""
        return QuantizedModel(linears, self.header, overrides or {})


class Quantizer(ABC):
    """Base of every method; see the module's docstring for the tutorial."""

    class Options(pydantic.BaseModel):
        """Hyper-parameters; unknown names are refused."""

        model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    options: Options

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def quantize(self, job: Job) -> QuantizedModel:
        """Compile ``job.model``; targets that are left out stay float."""
