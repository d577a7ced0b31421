"""How to add a kernel: a quantized linear in the form in which fast code runs it.

A kernel takes a ``QuantLinear`` of the artefact and keeps what it needs in its own layout (weights prepacked, scales).
It says beforehand what it cannot run and why (``refusal``), so that nothing falls back silently. Transforms, integer
codes and product are apart, because they are tested and timed apart. Here is a complete integer kernel::

    class Naive(IntegerKernel):
        '''The product in float64.'''

        name, device_type = "naive", "cpu"

        def __init__(self, linear: QuantLinear) -> None:
            super().__init__(linear)
            self.register_buffer("weight", centred_weight(linear).double())

        def accumulate(self, codes: Codes) -> Tensor:
            return codes.values.double() @ self.weight.T

        def multiply(self, codes: Codes) -> Tensor:
            y = self.accumulate(codes) * self.weight_scale * codes.scale
            return (y if self.bias is None else y + self.bias).to(codes.dtype)

Then name it in ``kernels/registry.py``: ``fgq-bench parity --backend`` compares it with the reference, layer by layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from fgq_bench.kernels.reference import input_codes
from fgq_bench.models.layers import at_least_float32
from fgq_bench.quant.grid import Clip
from fgq_bench.quant.linear import QuantLinear

Method = TypeVar("Method", bound=Callable[..., Any])


def opaque(method: Method) -> Method:
    """``torch.compile`` leaves ``method`` alone and compiles what lies between it and the next one."""
    return cast(Method, torch.compiler.disable(method))


@dataclass(frozen=True)
class Codes:
    """A quantized input: centred integer codes in whatever integer type the kernel reads, and a scale per token."""

    values: Tensor  # [..., in]
    scale: Tensor  # fp32, broadcastable to [..., 1]
    dtype: torch.dtype  # of the input that was quantized, and of the output


class Kernel(nn.Module, ABC):
    """y = kernel(x): the linear that ``QuantLinear`` describes, executed by fast code.

    Attributes:
        name: as it is shown in results.
        device_type: where it runs, ``cpu`` or ``cuda``.
        version: raised when it computes something else or at another speed; results of older ones are stale.
        integer: whether inputs and weights are multiplied as integers; only that counts as integer execution.
    """

    name: ClassVar[str]
    device_type: ClassVar[str]
    version: ClassVar[int] = 1
    integer: ClassVar[bool]

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__()
        self.scheme = linear.scheme
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.transforms = linear.transforms
        self.bias: Tensor | None
        self.register_buffer("bias", None if linear.bias is None else linear.bias.float())

    @classmethod
    def missing(cls) -> str | None:
        """What this machine or installation lacks to run the kernel at all; None where nothing is missing."""
        if cls.device_type == "cuda" and not torch.cuda.is_available():
            return "no CUDA device"
        return None

    @classmethod
    def prepare(cls) -> str | None:
        """Make ready, once, what needs minutes (a build), where nothing is ``missing``; why that failed, or None."""
        return None

    @classmethod
    @abstractmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """Why this kernel cannot run a layer such as ``linear``; None where it can."""

    def transformed(self, x: Tensor) -> Tensor:
        """``x`` [..., in] after the online transforms, which run in fp32; as it is where there are none."""
        for transform in self.transforms:
            x = transform(at_least_float32(x))
        return x

    @abstractmethod
    def run(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The layer's output [..., out] in ``dtype`` for an input ``x`` [..., in] that is transformed already."""

    @opaque
    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` [..., in]; the output [..., out] has the dtype of ``x``."""
        with torch.autocast(x.device.type, enabled=False):
            return self.run(self.transformed(x), x.dtype)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{self.name}, {self.in_features}, {self.out_features}, {self.scheme}"


class IntegerKernel(Kernel):
    """A kernel that multiplies integer codes: one scale per output channel, one per token."""

    integer = True
    offset_of_codes: int = 0  # what the kernel adds to its input codes

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)
        self.weight_scale: Tensor
        self.act_clip: Tensor | None
        self.act_scale: Tensor | None
        self.act_zero: Tensor | None
        assert linear.weight_scale is not None
        self.register_buffer("weight_scale", linear.weight_scale[:, 0].contiguous())
        for name in ("act_clip", "act_scale", "act_zero"):
            self.register_buffer(name, getattr(linear, name))

    @property
    def input_clip(self) -> Clip | None:
        """As in ``QuantLinear``."""
        return None if self.act_clip is None else (self.act_clip[0], self.act_clip[1])

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``: codes must fit a signed byte once they are centred, and sums may cross no weight group."""
        scheme = linear.scheme
        if not (scheme.quantizes_weights and scheme.quantizes_activations):
            return "weights and inputs must both be integers"
        if scheme.groups_of(linear.in_features, "linear") > 1:
            return f"one weight scale per output channel, not per group of {scheme.group_size}"
        for what, bits, asymmetric in (
            ("weights", scheme.weight_bits, scheme.weight_asymmetric),
            ("inputs", scheme.activation_bits, scheme.activation_asymmetric),
        ):
            if bits + asymmetric > 8:
                return f"centred codes of {'asymmetric ' * asymmetric}{bits}-bit {what} do not fit a byte"
        return None

    @abstractmethod
    def accumulate(self, codes: Codes) -> Tensor:
        """Exact sums [..., out] of code products, before any scale (fp32 holds them up to 2^24, else rounds them)."""

    @abstractmethod
    def multiply(self, codes: Codes) -> Tensor:
        """Sums times both scales, plus bias, in the dtype that ``codes`` name."""

    def quantize(self, x: Tensor, dtype: torch.dtype) -> Codes:
        """Codes, for an output in ``dtype``, of an input [..., in] that is transformed already; those of the reference, bit for bit."""
        values, scale = input_codes(at_least_float32(x), self)
        return Codes(values.to(torch.int8), scale, dtype)

    def run(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """See ``Kernel``."""
        return self.multiply(self.quantize(x, dtype))

    @opaque
    def forward(self, x: Tensor | Codes) -> Tensor:
        """See ``Kernel``; an input that its producer has quantized already comes as ``Codes``."""
        return self.multiply(x) if isinstance(x, Codes) else super().forward(x)

    def fused_with(self, producer: nn.Module) -> nn.Module | None:
        """A module that does what ``producer`` (LayerNorm or GELU) does and emits ``Codes``; None if there is none."""
        return None


class WeightOnlyKernel(Kernel):
    """A kernel that multiplies float inputs by weights of at most 4 bits."""

    integer = False

    @classmethod
    def refusal(cls, linear: QuantLinear) -> str | None:
        """See ``Kernel``."""
        scheme = linear.scheme
        if scheme.quantizes_activations or not scheme.quantizes_weights:
            return "inputs must be float and weights integer"
        return f"weights of at most 4 bits, not {scheme.weight_bits}" if scheme.weight_bits > 4 else None


def odd_widths(linear: QuantLinear, multiple: int) -> str | None:
    """Why a kernel that reads ``multiple`` channels at once cannot run ``linear``, None where it can."""
    if linear.in_features % multiple or linear.out_features % multiple:
        return f"widths must be multiples of {multiple}, not {linear.in_features} and {linear.out_features}"
    return None


def foreign_group(linear: QuantLinear, groups: Sequence[int]) -> str | None:
    """Why a kernel that knows one scale per channel or per group of ``groups`` cannot run ``linear``, None where it can."""
    size = linear.scheme.group_size
    return None if size in (None, *groups) else f"weight groups of {', '.join(map(str, groups))}, not {size}"


def centred_weight(linear: QuantLinear) -> Tensor:
    """Weight codes [out, in] int8 less their zero points."""
    if linear.weight_zero is None:
        return linear.codes
    return (linear.codes - linear.weight_zero).to(torch.int8)
