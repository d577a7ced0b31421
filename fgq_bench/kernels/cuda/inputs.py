"""Inputs of the integer kernels on a GPU: quantised with their transform in one Triton kernel, or by their producer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fgq_bench.kernels.kernel import Codes, opaque
from fgq_bench.kernels.triton.hadamard import hadamard, hadamard_quantize
from fgq_bench.kernels.triton.kronecker import kronecker, kronecker_quantize
from fgq_bench.kernels.triton.producers import gelu_quantize, layer_norm_quantize
from fgq_bench.kernels.triton.quantize import quantize_tokens
from fgq_bench.quant.transforms import Diagonal, Hadamard, Kronecker


def parted(transforms: Sequence[nn.Module]) -> tuple[Tensor | None, nn.Module | None, Tensor | None]:
    """Scales before the one Hadamard or Kronecker transform, that transform, scales behind it."""
    scales: list[Tensor | None] = [None, None]
    middle: nn.Module | None = None
    for each in transforms:
        if isinstance(each, Diagonal):
            scales[middle is not None] = each.scale
        else:
            middle = each
    return scales[0], middle, scales[1]


def quantize(
    x: Tensor, transforms: Sequence[nn.Module], lowest: int, highest: int, clip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Codes [M, K] int8 and scales [M] of rows ``x`` [M, K] after ``transforms``: at most one besides diagonals."""
    before, middle, after = parted(transforms)
    if isinstance(middle, Hadamard):
        return hadamard_quantize(x, middle.signs, lowest, highest, clip, before, after)
    if isinstance(middle, Kronecker):
        return kronecker_quantize(x, middle.left, middle.right, lowest, highest, clip, before, after)
    return quantize_tokens(x, lowest, highest, clip, before)


def transform(x: Tensor, transforms: Sequence[nn.Module]) -> Tensor:
    """Rows ``x`` [M, K] after ``transforms`` (at most one besides diagonals), in their dtype."""
    before, middle, after = parted(transforms)
    if isinstance(middle, Hadamard):
        return hadamard(x, middle.signs, before, after)
    if isinstance(middle, Kronecker):
        return kronecker(x, middle.left, middle.right, before, after)
    return x if before is None else (x.float() * before).to(x.dtype)


def _hold(module: nn.Module, clip: Tensor | None, diagonal: Tensor | None) -> None:
    """As buffers: they follow the module to its device."""
    module.register_buffer("clip", clip, persistent=False)
    module.register_buffer("diagonal", diagonal, persistent=False)


class QuantizingLayerNorm(nn.Module):
    """A LayerNorm that emits codes for the linear behind it."""

    clip: Tensor | None
    diagonal: Tensor | None

    def __init__(
        self, norm: nn.LayerNorm, lowest: int, highest: int, clip: Tensor | None, diagonal: Tensor | None
    ) -> None:
        super().__init__()
        self.norm, self.range = norm, (lowest, highest)
        _hold(self, clip, diagonal)

    @opaque
    def forward(self, x: Tensor) -> Codes:
        """Map ``x`` [..., n] to its normed codes."""
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        found = layer_norm_quantize(
            flat, self.norm.weight, self.norm.bias, self.norm.eps, *self.range, self.clip, self.diagonal
        )
        return _shaped(found, x)


class QuantizingGelu(nn.Module):
    """A GELU that emits codes for the linear behind it."""

    clip: Tensor | None
    diagonal: Tensor | None

    def __init__(self, lowest: int, highest: int, clip: Tensor | None, diagonal: Tensor | None) -> None:
        super().__init__()
        self.range = (lowest, highest)
        _hold(self, clip, diagonal)

    @opaque
    def forward(self, x: Tensor) -> Codes:
        """Map ``x`` [..., n] to the codes of its GELU."""
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        return _shaped(gelu_quantize(flat, *self.range, self.clip, self.diagonal), x)


def _shaped(found: tuple[Tensor, Tensor], x: Tensor) -> Codes:
    return Codes(found[0].view(x.shape), found[1].view(*x.shape[:-1], 1), x.dtype)
