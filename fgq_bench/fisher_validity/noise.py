"""Noise as rounding makes it: of either sign, as large as the error on the token's grid, the same in every channel.

A token's step is that of its 4-bit grid, max|x| / 7; rounding to it errs by step / sqrt(12) in the root mean square,
whatever the channel. Noise of that size and of random sign is thus matched between channels, token by token. The signs
of a token are the same for every channel that is disturbed alone (common random numbers: two channels differ by what
the network makes of them, not by luck).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgq_bench.quant.grid import symmetric_scale

BITS = 4


def noise_size(output: Tensor) -> Tensor:
    """Root mean square [..., 1] of the rounding error of tokens ``output`` [..., C]."""
    return symmetric_scale(output.float(), BITS) / 12**0.5


def draw_signs(shape: tuple[int, ...], seed: int) -> Tensor:
    """+1 or -1, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def disturb_channel(output: Tensor, channel: int, signs: Tensor) -> Tensor:
    """``output`` [batch, tokens, C] with noise in one channel; ``signs`` [batch, tokens]."""
    noisy = output.clone()
    noisy[..., channel] += (noise_size(output)[..., 0] * signs).to(output.dtype)
    return noisy


def disturb_all(output: Tensor, size: float, signs: Tensor) -> Tensor:
    """``output`` with noise in all channels, as the tokens' steps have it but of root mean square ``size`` overall;
    ``signs`` [batch, tokens, C].
    """
    steps = noise_size(output)
    noise: Tensor = steps * (size / steps.square().mean().sqrt()) * signs
    return output + noise.to(output.dtype)
