"""The ``reference`` backend: readable, exact integer arithmetic; every kernel is tested against it."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.models.layers import at_least_float32
from fgq_bench.quant.grid import Clip, exact_in_float32, product, quantize_input, to_codes
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme


class InputGrid(Protocol):
    """What says how a linear's inputs are quantized: ``QuantLinear``, or a kernel made from one."""

    scheme: Scheme
    act_scale: Tensor | None
    act_zero: Tensor | None

    @property
    def input_clip(self) -> Clip | None:
        """Factors on the input's minimum and maximum."""


def input_codes(x: Tensor, linear: InputGrid) -> tuple[Tensor, Tensor]:
    """Centred codes [..., in] (floating point) and scales, broadcastable to [..., 1], of the transformed input ``x``."""
    scheme = linear.scheme
    if linear.scheme.has_static_inputs:
        return _static_codes(x, linear)
    return quantize_input(
        x, scheme.activation_bits, scheme.activation_asymmetric, scheme.activation_per_tensor, linear.input_clip
    )


def _static_codes(x: Tensor, linear: InputGrid) -> tuple[Tensor, Tensor]:
    """Codes like ``x`` [..., tokens, in] and scales [tokens, 1] of stored grids, which repeat frame by frame."""
    if linear.act_scale is None:
        raise RuntimeError("QuantLinear has no static scales: calibrate them first (fgq_bench.calibration.ranges)")
    tokens, positions = x.shape[-2], len(linear.act_scale)
    if tokens % positions:
        raise UserError(
            f"static activation scales for {positions} token positions do not fit {tokens} tokens: they were calibrated "
            "at another image size"
        )
    frames = tokens // positions
    scale = linear.act_scale.repeat(frames)[:, None]
    zero = None if linear.act_zero is None else linear.act_zero.float().repeat(frames)[:, None]
    codes = to_codes(x, scale, zero, linear.scheme.activation_bits)
    return codes if zero is None else codes - zero, scale


def execute(x: Tensor, linear: QuantLinear) -> Tensor:
    """Run ``linear`` on ``x`` [..., in]: y = (integer dot product) * s_x * s_w + b in fp32, cast to x's dtype.

    Transforms run first, in fp32. Sums run in fp32 only while every partial sum is an exact integer, in float64
    otherwise. At 16 activation bits the input stays float and the weight is dequantized; at 16 weight bits it is the
    other way round; where neither is quantized the arithmetic is that of ``x`` (float64 stays float64). An autocast
    context around the model does not reach in here: it would round the sums to bf16.
    """
    with torch.autocast(x.device.type, enabled=False):
        wide = at_least_float32(x)
        return multiply(linear.transformed(wide), linear).to(x.dtype)


def multiply(x: Tensor, linear: QuantLinear) -> Tensor:
    """``execute`` for an input [..., in] that is transformed already; fp32 out, or the dtype of ``x`` if it is wider."""
    scheme = linear.scheme
    bias = None if linear.bias is None else linear.bias.to(x.dtype)
    if not scheme.quantizes_activations:
        return F.linear(x, linear.dequantized_weight().to(x.dtype), bias)
    codes, scale = input_codes(x, linear)
    if linear.weight_scale is None:
        return F.linear(codes * scale, linear.dequantized_weight().float(), bias)
    weight = linear.codes.float().unflatten(1, (linear.weight_scale.shape[1], -1))
    if linear.weight_zero is not None:
        weight = weight - linear.weight_zero.float()[..., None]
    groups = codes.unflatten(-1, weight.shape[1:])
    exact32 = exact_in_float32(scheme.weight_bits, scheme.activation_bits, weight.shape[-1])
    total = torch.zeros(*x.shape[:-1], linear.out_features, device=x.device)
    for group in range(weight.shape[1]):
        accumulated = product(groups[..., group, :], weight[:, group], exact32)
        total += accumulated * linear.weight_scale[:, group]
    y = total * scale
    return y if bias is None else y + bias
