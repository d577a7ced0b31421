"""Two codes a byte -> operands of tensor cores, in registers.

Inline assembly handles four bytes at a time, where the compiler would shift and convert them one by one. ``PLAIN`` says
the same in Triton's own words, for the interpreter.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

LOW_TIMES_16 = tl.constexpr("{ .reg .b32 t; shl.b32 t, $1, 4; and.b32 $0, t, 0xF0F0F0F0; }")
HIGH_TIMES_16 = tl.constexpr("and.b32 $0, $1, 0xF0F0F0F0;")


def _float_assembly(kind: str, base: int, one: int) -> tl.constexpr:
    """Four bytes $4 -> codes of the low nibbles $0, $1 and of the high nibbles $2, $3, as pairs of 16-bit floats.

    ``base`` is the bit pattern of a power of two whose last bits count ones. With a nibble, its sign bit flipped, in
    those bits the number is the power + 8 + code; subtracting power + 8 is exact.
    """
    pair = (base | 8) * 0x10001  # flips the sign bits and adds the exponents in one operation
    unpacked = "".join(
        f"{shift}lop3.b32 ${out}, {word}, 0x000F000F, {pair:#x}, 0x6A;"  # 0x6A: (a & b) ^ c
        f"fma.rn.{kind}x2 ${out}, ${out}, one, offset;"
        for out, word, shift in (
            (0, "a", ""),
            (1, "b", ""),
            (2, "a", "shr.u32 a, a, 4;"),
            (3, "b", "shr.u32 b, b, 4;"),
        )
    )
    return tl.constexpr(
        "{ .reg .b32 a, b, one, offset;"
        f"mov.b32 one, {one * 0x10001:#x}; mov.b32 offset, {pair | 0x80008000:#x};"
        "prmt.b32 a, $4, 0, 0x4140; prmt.b32 b, $4, 0, 0x4342;"  # bytes 0, 1 and 2, 3, each widened to 16 bits
        f"{unpacked} }}"
    )


AS_BF16 = _float_assembly("bf16", 0x4300, 0x3F80)  # 128
AS_FP16 = _float_assembly("f16", 0x6400, 0x3C00)  # 1024


@triton.jit
def nibbles_times_16(packed, PLAIN: tl.constexpr):  # type: ignore[no-untyped-def]
    """16 * code of the low and of the high nibbles of ``packed`` uint8, as int8."""
    if PLAIN:
        low = (packed << 4).to(tl.int8, bitcast=True)
        high = (packed & 0xF0).to(tl.int8, bitcast=True)
    else:
        low = tl.inline_asm_elementwise(LOW_TIMES_16, "=r,r", [packed], tl.int8, True, 4)
        high = tl.inline_asm_elementwise(HIGH_TIMES_16, "=r,r", [packed], tl.int8, True, 4)
    return low, high


@triton.jit
def nibbles(packed):  # type: ignore[no-untyped-def]
    """The codes of the low and of the high nibbles of ``packed`` uint8, as int8."""
    return (packed << 4).to(tl.int8, bitcast=True) >> 4, packed.to(tl.int8, bitcast=True) >> 4


@triton.jit
def nibbles_as(packed, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """The codes of the low and of the high nibbles of ``packed`` uint8 in ``dtype``: bf16 or fp16."""
    if dtype == tl.bfloat16:
        both = tl.inline_asm_elementwise(AS_BF16, "=r,=r,=r,=r,r", [packed], (tl.bfloat16, tl.bfloat16), True, 4)
    else:
        both = tl.inline_asm_elementwise(AS_FP16, "=r,=r,=r,=r,r", [packed], (tl.float16, tl.float16), True, 4)
    return both
