"""The inline assembly that the interpreter cannot run, run here: the few PTX instructions that it uses, on every byte."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="the Triton kernels need triton (pip install fgq-bench[gpu])")
from fgq_bench.kernels.triton.unpacking import AS_BF16, AS_FP16, HIGH_TIMES_16, LOW_TIMES_16

BYTES = torch.arange(256, dtype=torch.uint8)
WORDS = BYTES.view(torch.int32).long() & 0xFFFFFFFF  # four bytes each, the first one lowest


def halves(word: Tensor, dtype: torch.dtype) -> Tensor:
    """Words [n] -> the two 16-bit floats of each [n, 2], the lower half first."""
    return torch.stack([word & 0xFFFF, word >> 16], -1).to(torch.uint16).view(dtype)


def prmt(a: Tensor, b: Tensor, selector: int) -> Tensor:
    """Byte i of the result is the byte of b:a that the i-th nibble of ``selector`` names."""
    picked = [(selector >> 4 * i) & 7 for i in range(4)]
    return sum(
        (((a, b)[name // 4] >> 8 * (name % 4)) & 0xFF) << 8 * i for i, name in enumerate(picked)
    ) + torch.zeros_like(WORDS)


def lop3(a: Tensor, b: Tensor, c: Tensor, table: int) -> Tensor:
    """Bit by bit, the entry of ``table`` that the bits of a, b and c name."""
    result = torch.zeros_like(WORDS)
    for bit in range(32):
        row = ((a >> bit) & 1) * 4 + ((b >> bit) & 1) * 2 + ((c >> bit) & 1)
        result |= ((torch.tensor(table) >> row) & 1) << bit
    return result


def fma(a: Tensor, b: Tensor, c: Tensor, dtype: torch.dtype) -> Tensor:
    """a * b + c of pairs of 16-bit floats, rounded once."""
    wide = [halves(each.expand(len(WORDS)), dtype).double() for each in (a, b, c)]
    bits = (wide[0] * wide[1] + wide[2]).to(dtype).view(torch.uint16).long()
    return bits[:, 0] | bits[:, 1] << 16


def run(assembly: str, source: str) -> dict[str, Tensor]:
    """Registers after ``assembly``, which reads ``WORDS`` from the operand ``source``."""
    registers = {source: WORDS}

    def value(operand: str) -> Tensor:
        return registers[operand] if operand in registers else torch.tensor(int(operand, 0))

    for statement in assembly.strip(" {}").split(";"):
        found = re.fullmatch(r"\s*(\w+)\.([\w.]+) (.*)", statement)
        if found is None:
            continue  # declarations
        name, kind, operands = found[1], found[2], found[3].split(", ")
        target, inputs = operands[0], [value(operand) for operand in operands[1:]]
        match name:
            case "mov":
                result = inputs[0]
            case "and":
                result = inputs[0] & inputs[1]
            case "shl":
                result = inputs[0] << inputs[1] & 0xFFFFFFFF
            case "shr":
                result = inputs[0] >> inputs[1]
            case "prmt":
                result = prmt(inputs[0], inputs[1], int(inputs[2]))
            case "lop3":
                result = lop3(inputs[0], inputs[1], inputs[2], int(inputs[3]))
            case "fma":
                dtype = torch.bfloat16 if kind == "rn.bf16x2" else torch.float16
                result = fma(inputs[0], inputs[1], inputs[2], dtype)
            case _:
                raise NotImplementedError(statement)
        registers[target] = result
    return registers


LOW = (BYTES << 4).view(torch.int8) >> 4
HIGH = BYTES.view(torch.int8) >> 4


@pytest.mark.parametrize(("assembly", "codes"), [(LOW_TIMES_16, LOW), (HIGH_TIMES_16, HIGH)], ids=["low", "high"])
def test_nibbles_times_16(assembly: object, codes: Tensor) -> None:
    word = run(str(assembly.value), "$1")["$0"]  # type: ignore[attr-defined]
    unpacked = torch.stack([word >> shift & 0xFF for shift in (0, 8, 16, 24)], -1).to(torch.uint8).view(torch.int8)
    assert torch.equal(unpacked.flatten(), codes * 16)


@pytest.mark.parametrize(("assembly", "dtype"), [(AS_BF16, torch.bfloat16), (AS_FP16, torch.float16)], ids=str)
def test_nibbles_as_floats(assembly: object, dtype: torch.dtype) -> None:
    registers = run(str(assembly.value), "$4")  # type: ignore[attr-defined]
    for first, codes in ((0, LOW), (2, HIGH)):
        pairs = [halves(registers[f"${first + i}"], dtype) for i in range(2)]
        assert torch.equal(torch.cat(pairs, -1).flatten().float(), codes.float())
