"""Bit packing: signed b-bit codes to a dense little-endian byte stream and back, for any b up to 8."""

from __future__ import annotations

import torch
from torch import Tensor


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take."""
    return (count * bits + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack signed codes (int8, any shape) into uint8 [ceil(n * bits / 8)].

    Code i occupies bits i * b to (i + 1) * b of the stream, offset by 2^(b-1) so that it is unsigned.
    """
    flat = codes.reshape(-1)
    if bits == 8:
        return flat.view(torch.uint8) ^ 0x80
    unsigned = (flat.to(torch.int16) + 2 ** (bits - 1)).to(torch.uint8)
    stream = torch.stack([(unsigned >> bit) & 1 for bit in range(bits)], -1).reshape(-1)
    stream = torch.nn.functional.pad(stream, (0, -len(stream) % 8)).view(-1, 8)
    out = torch.zeros(len(stream), dtype=torch.uint8, device=codes.device)
    for bit in range(8):
        out |= stream[:, bit] << bit
    return out


def unpack(packed: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    """Inverse of ``pack``: signed int8 codes of ``shape``."""
    if bits == 8:
        return torch.bitwise_xor(packed, 0x80).view(torch.int8).reshape(shape)
    count = int(torch.Size(shape).numel())
    stream = torch.stack([(packed >> bit) & 1 for bit in range(8)], -1).reshape(-1)[: count * bits].view(count, bits)
    out = torch.zeros(count, dtype=torch.uint8, device=packed.device)
    for bit in range(bits):
        out |= stream[:, bit] << bit
    signed: Tensor = (out.to(torch.int16) - 2 ** (bits - 1)).to(torch.int8)
    return signed.reshape(shape)
