"""Packing is lossless and exactly as small as it says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgq_bench.quant.packing import pack, packed_bytes, unpack

BITS = [2, 3, 4, 6, 8]


@settings(deadline=None)
@given(st.sampled_from(BITS), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_round_trip(bits: int, rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (rows, columns), generator=generator).to(torch.int8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_bytes(codes.numel(), bits)
    assert torch.equal(unpack(packed, bits, (rows, columns)), codes)


@pytest.mark.parametrize("bits", BITS)
def test_every_code_survives(bits: int) -> None:
    codes = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), dtype=torch.int8)
    assert torch.equal(unpack(pack(codes, bits), bits, tuple(codes.shape)), codes)


def test_layout_is_little_endian_and_offset_binary() -> None:
    assert pack(torch.tensor([-8, 7], dtype=torch.int8), 4).tolist() == [0xF0]
