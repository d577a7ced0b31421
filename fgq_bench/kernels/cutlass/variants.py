"""Tiles of the CUTLASS product, and which one runs: the one table to tune.

On an H200, 13 740 tokens of VGGT's linears: 64 x 256 with clusters of 2 reaches 926 to 1 291 TOPS. The other tiles have
not been timed, and where they are picked is a rule of thumb.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

TYPES = {"bf16": "cutlass::bfloat16_t", "fp32": "float"}
OUTPUTS = {torch.bfloat16: "bf16", torch.float32: "fp32"}
PROCESSORS = 132  # of an H100 or H200; a constant, so that the choice does not depend on the GPU


@dataclass(frozen=True)
class Variant:
    """One compiled tile; 128 columns a step, two warpgroups that take turns."""

    tokens: int
    channels: int
    cluster: int  # thread blocks that share the weight's tile
    output: str  # a key of ``TYPES``

    @property
    def name(self) -> str:
        """The exported function."""
        return f"fgq_int8_{self.tokens}x{self.channels}_c{self.cluster}_{self.output}"

    def macros(self) -> dict[str, str]:
        """What ``int8_gemm.cu`` is compiled with."""
        return {
            "FGQ_NAME": self.name, "FGQ_TOKENS": str(self.tokens), "FGQ_CHANNELS": str(self.channels),
            "FGQ_CLUSTER": str(self.cluster), "FGQ_OUTPUT": TYPES[self.output],
        }  # fmt: skip


WIDE, SMALL = Variant(64, 256, 2, "bf16"), Variant(64, 128, 1, "bf16")
EXACT = Variant(64, 128, 1, "fp32")
VARIANTS = (WIDE, Variant(64, 256, 1, "bf16"), Variant(64, 128, 2, "bf16"), SMALL, Variant(128, 128, 2, "bf16"), EXACT)


@dataclass(frozen=True)
class Choice:
    """A variant, and how many of its token tiles are walked per pass over the channels (a power of two up to 8)."""

    variant: Variant
    swizzle: int = 1


def pick(tokens: int, channels: int, dtype: torch.dtype) -> Choice:
    """The variant for an output [tokens, channels] in ``dtype``: the same for the same arguments."""
    if OUTPUTS[dtype] == "fp32":
        return Choice(EXACT)
    tiles = -(-tokens // WIDE.tokens) * -(-channels // WIDE.channels)
    return Choice(WIDE if tiles >= PROCESSORS else SMALL)
