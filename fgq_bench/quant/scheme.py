"""Bit-width, granularity and symmetry as one value: ``Scheme.parse("w4a16g128")``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from fgq_bench.errors import UserError

BITS = (2, 3, 4, 6, 8, 16)
_GRAMMAR = re.compile(r"w([0-9]{1,2})a([0-9]{1,2})(?:g([0-9]{1,9}))?((?:-(?:wasym|aasym|astatic|atensor))*)")
_FORM = "w<bits>a<bits>[g<group>][-wasym][-aasym][-astatic][-atensor], bits in " + ", ".join(map(str, BITS))


@dataclass(frozen=True)
class Scheme:
    """How the weights and the input of a linear are quantized (spec: baselines, "Grid and the arithmetic of truth").

    Weights get a scale per output channel, or per ``group_size`` inputs of it; activations a scale per token, or per
    tensor. 16 bits means "stays floating point".
    """

    weight_bits: int
    activation_bits: int
    group_size: int | None = None
    weight_asymmetric: bool = False
    activation_asymmetric: bool = False
    activation_static: bool = False
    activation_per_tensor: bool = False

    @classmethod
    def parse(cls, text: str) -> Scheme:
        """Read a scheme such as ``w4a4``, ``w4a16g128`` or ``w8a8-aasym``; raises UserError with the grammar."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise UserError(f"scheme {text[:60]!r} is not of the form {_FORM}")
        weight_bits, activation_bits = int(match[1]), int(match[2])
        for bits in (weight_bits, activation_bits):
            if bits not in BITS:
                raise UserError(f"scheme {text!r}: {bits} bits are not supported; {_FORM}")
        group_size = int(match[3]) if match[3] else None
        if group_size == 0:
            raise UserError(f"scheme {text!r}: the group size must be positive")
        flags = match[4].split("-")[1:]
        if len(flags) != len(set(flags)):
            raise UserError(f"scheme {text!r}: a flag is given twice")
        return cls(
            weight_bits, activation_bits, group_size, "wasym" in flags, "aasym" in flags, "astatic" in flags, "atensor" in flags
        )  # fmt: skip

    def __str__(self) -> str:
        group = f"g{self.group_size}" if self.group_size else ""
        flags = {
            "-wasym": self.weight_asymmetric,
            "-aasym": self.activation_asymmetric,
            "-astatic": self.activation_static,
            "-atensor": self.activation_per_tensor,
        }
        return f"w{self.weight_bits}a{self.activation_bits}{group}" + "".join(f for f, on in flags.items() if on)

    @property
    def quantizes_weights(self) -> bool:
        """Whether weights become integer codes."""
        return self.weight_bits < 16

    @property
    def quantizes_activations(self) -> bool:
        """Whether inputs become integer codes."""
        return self.activation_bits < 16

    @property
    def has_static_inputs(self) -> bool:
        """Whether inputs are quantized on stored grids."""
        return self.activation_static and self.quantizes_activations

    @property
    def dynamic(self) -> Scheme:
        """The same with scales found as the input comes: how candidates are tried before static ones are set."""
        return replace(self, activation_static=False)

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized (full precision)."""
        return not (self.quantizes_weights or self.quantizes_activations)

    def groups_of(self, width: int, name: str) -> int:
        """Number of weight groups of a linear with ``width`` inputs; raises UserError if they do not divide it."""
        if self.group_size is None:
            return 1
        if width % self.group_size:
            raise UserError(f"scheme {self}: group size {self.group_size} does not divide the {width} inputs of {name}")
        return width // self.group_size
