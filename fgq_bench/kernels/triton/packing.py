"""The device layout of 4-bit weights: two codes a byte, columns k and k + 128 of every 256 columns.

With the two codes of a byte far apart, the low nibbles of a tile of bytes are neighbouring columns, and so are the high
nibbles: a kernel unpacks by shift and mask, and multiplies each half with a tile of inputs that lies in one piece. No
lane ever has to interleave codes. Half a block is one cache line. The last block is padded with zeros.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_K = 256  # columns that share bytes
HALF = BLOCK_K // 2  # bytes of a block; a kernel reads as many of a row at once, or fewer


def packed_width(columns: int) -> int:
    """Bytes of a packed row that holds ``columns`` codes."""
    return -(-columns // BLOCK_K) * HALF


def pack_int4(codes: Tensor) -> Tensor:
    """Pack ``codes`` [N, K] int8 in -8..7 to [N, ceil(K / 256) * 128] uint8.

    Raises ValueError for other types or values. It reads the values, so on a GPU it waits: pack at load time.
    """
    if codes.dtype != torch.int8 or codes.dim() != 2:
        raise ValueError(f"codes to pack must be int8 [N, K], not {codes.dtype} {list(codes.shape)}")
    if codes.numel() and (int(codes.min()) < -8 or int(codes.max()) > 7):
        raise ValueError(f"4-bit codes lie in -8..7, not in {int(codes.min())}..{int(codes.max())}")
    padded = F.pad(codes, (0, 2 * packed_width(codes.shape[1]) - codes.shape[1])).unflatten(1, (-1, 2, HALF))
    nibbles = padded.view(torch.uint8) & 0xF
    packed: Tensor = (nibbles[:, :, 0] | (nibbles[:, :, 1] << 4)).flatten(1).contiguous()
    return packed


def unpack_int4(packed: Tensor, columns: int) -> Tensor:
    """The int8 codes [N, columns] that ``packed`` [N, packed_width(columns)] uint8 holds."""
    blocks = packed.unflatten(1, (-1, 1, HALF))
    shifted = torch.cat([blocks << 4, blocks & 0xF0], 2).flatten(1)[:, :columns]
    codes: Tensor = shifted.contiguous().view(torch.int8) >> 4
    return codes
