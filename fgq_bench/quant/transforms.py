"""Input transforms: invertible maps x' = x M that a linear applies online, undone by its weight W' = W M^-T.

Stored numbers are the truth: a transform is rounded to what the artefact stores *before* its inverse goes into the
weight, so x' W'^T = x W^T up to the arithmetic. Several transforms of one linear are applied in order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from fgq_bench.quant.hadamard import hadamard_factors, hadamard_transform


class Transform(nn.Module, ABC):
    """An invertible linear map of a layer's input; its buffers are what the artefact stores."""

    kind: ClassVar[str]

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """x M for rows ``x`` [..., n]; in the dtype of ``x``."""

    @abstractmethod
    def undo(self, weight: Tensor) -> Tensor:
        """W M^-T for ``weight`` [out, n] in float64, so that the product with transformed inputs is unchanged."""

    @abstractmethod
    def misfit(self, width: int) -> str | None:
        """Why these numbers are no transform of ``width`` inputs; None: they are."""

    def of_hessian(self, hessian: Tensor) -> Tensor:
        """M^T H M: second moments [n, n] of transformed inputs from those of the plain ones."""
        half: Tensor = self(hessian)
        whole: Tensor = self(half.T.contiguous())
        return whole.T.contiguous()


class Diagonal(Transform):
    """x' = x * scale, channel by channel; stored in fp32."""

    kind = "diagonal"

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", scale.detach().float().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """See ``Transform``."""
        return x * self.scale.to(x.dtype)

    def undo(self, weight: Tensor) -> Tensor:
        """See ``Transform``."""
        return weight.double() / self.scale.double()

    def misfit(self, width: int) -> str | None:
        """See ``Transform``."""
        if len(self.scale) != width:
            return f"{len(self.scale)} scales for {width} inputs"
        return "a scale is 0" if bool((self.scale == 0).any()) else None


class Hadamard(Transform):
    """x' = (x * signs) H, H orthonormal (randomised Hadamard transform; QuaRot); signs stored as int8."""

    kind = "hadamard"

    def __init__(self, signs: Tensor) -> None:
        super().__init__()
        hadamard_factors(signs.shape[0])
        self.signs: Tensor
        self.register_buffer("signs", signs.to(torch.int8))

    @classmethod
    def random(cls, width: int, generator: torch.Generator) -> Hadamard:
        """Random signs; raises UserError where no Hadamard matrix has this width."""
        hadamard_factors(width)
        return cls(2 * torch.randint(0, 2, (width,), generator=generator) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """See ``Transform``."""
        return hadamard_transform(x * self.signs.to(x.dtype))

    def undo(self, weight: Tensor) -> Tensor:
        """See ``Transform``; M is orthogonal, so M^-T = M."""
        return self.forward(weight.double())

    def misfit(self, width: int) -> str | None:
        """See ``Transform``."""
        if len(self.signs) != width:
            return f"{len(self.signs)} signs for {width} inputs"
        return "a sign is 0" if bool((self.signs == 0).any()) else None


class Kronecker(Transform):
    """x' = x (left (x) right) for small invertible factors [a, a] and [b, b]; stored in fp16 (FlatQuant).

    A missing factor is the identity: with ``left`` alone the map mixes heads and leaves each head's channels, with
    ``right`` alone it is the same small matrix in every head.
    """

    kind = "kronecker"

    def __init__(self, left: Tensor | None, right: Tensor | None) -> None:
        super().__init__()
        self.left: Tensor | None
        self.right: Tensor | None
        for name, factor in (("left", left), ("right", right)):
            self.register_buffer(name, None if factor is None else factor.detach().half().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """See ``Transform``."""
        return apply_kronecker(x, *(None if f is None else f.to(x.dtype) for f in (self.left, self.right)))

    def undo(self, weight: Tensor) -> Tensor:
        """See ``Transform``; the inverse is taken in float64."""
        factors = (None if f is None else torch.linalg.inv(f.double()).T for f in (self.left, self.right))
        return apply_kronecker(weight.double(), *factors)

    def misfit(self, width: int) -> str | None:
        """See ``Transform``."""
        factors = [factor for factor in (self.left, self.right) if factor is not None]
        if not factors or any(factor.shape[0] != factor.shape[1] for factor in factors):
            return "square factors are expected, one or two"
        size = math.prod(len(factor) for factor in factors)
        fits = size == width if len(factors) == 2 else width % size == 0
        return None if fits else f"factors of {' x '.join(str(len(factor)) for factor in factors)} for {width} inputs"


def apply_kronecker(x: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """``x`` [..., a * b] times left [a, a] (x) right [b, b]; a factor of None is the identity.

    >>> apply_kronecker(torch.ones(1, 6), torch.eye(2), 2 * torch.eye(3))
    tensor([[2., 2., 2., 2., 2., 2.]])
    """
    shape = x.shape
    if right is not None:
        x = x.reshape(*shape[:-1], -1, right.shape[0]) @ right
    if left is not None:
        rows = x.reshape(-1, left.shape[0], shape[-1] // left.shape[0])
        x = torch.bmm(left.mT.expand(len(rows), -1, -1), rows)
    return x.reshape(shape)


def balanced_factors(width: int) -> tuple[int, int]:
    """a <= b with a * b = width and b - a smallest, as FlatQuant splits an input: 1024 = 32 * 32, 192 = 12 * 16."""
    small = next(a for a in range(int(width**0.5), 0, -1) if width % a == 0)
    return small, width // small


TRANSFORMS: dict[str, type[Transform]] = {cls.kind: cls for cls in (Diagonal, Hadamard, Kronecker)}


def transform_from_tensors(kind: str, tensors: dict[str, Tensor]) -> Transform:
    """Rebuild a stored transform from its buffers."""
    if kind == "kronecker":
        return Kronecker(tensors.get("left"), tensors.get("right"))
    return Diagonal(tensors["scale"]) if kind == "diagonal" else Hadamard(tensors["signs"])
