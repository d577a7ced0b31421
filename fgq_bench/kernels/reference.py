"""The ``reference`` backend: readable, exact integer arithmetic; every kernel is tested against it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.quant.grid import exact_in_float32, product, quantize_rows
from fgq_bench.quant.linear import QuantLinear


def quantize_input(x: Tensor, linear: QuantLinear) -> tuple[Tensor, Tensor]:
    """Centred codes [..., in] (floating point) and scales [..., 1] of the layer's input ``x``, dynamically."""
    scheme = linear.scheme
    if scheme.activation_static:
        raise UserError(f"scheme {scheme}: static activation scales need a method that calibrates them")
    rows = x.reshape(1, -1) if scheme.activation_per_tensor else x
    codes, scale, zero = quantize_rows(rows, scheme.activation_bits, scheme.activation_asymmetric)
    return (codes if zero is None else codes - zero).view_as(x), scale


def execute(x: Tensor, linear: QuantLinear) -> Tensor:
    """Run ``linear`` on ``x`` [..., in]: y = (integer dot product) * s_x * s_w + b in fp32, cast to x's dtype.

    Sums run in fp32 only while every partial sum is an exact integer, in float64 otherwise. At 16 activation bits
    the input stays float and the weight is dequantized; at 16 weight bits it is the other way round. An autocast
    context around the model does not reach in here: it would round the sums to bf16.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _execute(x, linear)


def _execute(x: Tensor, linear: QuantLinear) -> Tensor:
    scheme = linear.scheme
    bias = None if linear.bias is None else linear.bias.float()
    if not (scheme.quantizes_weights and scheme.quantizes_activations):
        return F.linear(_float_input(x, linear), linear.dequantized_weight(), bias).to(x.dtype)
    codes, scale = quantize_input(x.float(), linear)
    assert linear.weight_scale is not None
    weight = linear.codes.float().unflatten(1, (linear.weight_scale.shape[1], -1))
    if linear.weight_zero is not None:
        weight = weight - linear.weight_zero.float()[..., None]
    groups = codes.unflatten(-1, weight.shape[1:])
    exact32 = exact_in_float32(scheme.weight_bits, scheme.activation_bits, weight.shape[-1])
    total = torch.zeros(*x.shape[:-1], linear.out_features, device=x.device)
    for group in range(weight.shape[1]):
        accumulated = product(groups[..., group, :], weight[:, group], exact32)
        total += accumulated * linear.weight_scale[:, group]
    y = total * (scale if scale.ndim == x.ndim else scale.reshape(()))
    return (y if bias is None else y + bias).to(x.dtype)


def _float_input(x: Tensor, linear: QuantLinear) -> Tensor:
    if not linear.scheme.quantizes_activations:
        return x.float()
    codes, scale = quantize_input(x.float(), linear)
    return codes * (scale if scale.ndim == x.ndim else scale.reshape(()))
