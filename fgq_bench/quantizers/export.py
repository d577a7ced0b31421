"""From learned parameters of a block to its quantized linears (spec: fgq, 2.6 and 2.7).

Folded: channel scales into LayerNorm (not fc2's: GELU is in between), the value heads' transform into ``v`` and
``proj``. Online: the Kronecker transforms, and fc2's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fgq_bench.models.layers import Block
from fgq_bench.quant.grid import Clip, quantize_weight
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Kronecker, Transform, apply_kronecker
from fgq_bench.quantizers.base import Job
from fgq_bench.quantizers.flatness import PARTS, clamp_weight, matrices, matrix_sizes, rotate_rows, split_weights
from fgq_bench.quantizers.learned_linear import input_clip, weight_clip
from fgq_bench.quantizers.scaling import scaled_norm


@dataclass(frozen=True)
class LearnedClipping:
    """A ``Rounder``: clip rows as learned, then round. For v the rows are those before its output transform."""

    clip: Clip
    output: Tensor | None = None  # [n, n] transform of the value heads, already in the weight's rows

    def __call__(self, weight: Tensor, scheme: Scheme, groups: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """See ``fgq_bench.quant.linear.Rounder``."""
        if self.output is None:
            return quantize_weight(weight, scheme.weight_bits, groups, scheme.weight_asymmetric, self.clip)
        before = rotate_rows(weight.double(), torch.linalg.inv(self.output))
        changed = rotate_rows(clamp_weight(before, (self.clip[0].double(), self.clip[1].double())), self.output)
        return quantize_weight(changed.float(), scheme.weight_bits, groups, scheme.weight_asymmetric)


def export_block(
    job: Job, name: str, block: Block, parameters: dict[str, Tensor], scheme: Scheme
) -> tuple[dict[str, QuantLinear], dict[str, Tensor]]:
    """Quantized linears (``q``, ``k``, ``v``, ``proj``, ``fc1``, ``fc2``) and changed LayerNorms of block ``name``."""
    exact = {key: value.detach().double() for key, value in parameters.items()}
    found = matrices(exact, matrix_sizes(block))
    value, value_undo = found["v"]
    overrides = scaled_norm(job.model, f"{name}.norm1", exact["scale.qkv"])
    overrides |= scaled_norm(job.model, f"{name}.norm2", exact["scale.fc1"])
    transforms: dict[str, list[Transform]] = {"proj": [Kronecker(found["heads"][0], None)]}
    for key in ("qkv", "fc1", "fc2"):
        transforms[key] = [Kronecker(found[f"{key}.left"][0], found[f"{key}.right"][0])]
    transforms["fc2"].insert(0, Diagonal(exact["scale.fc2"]))
    biases = dict(zip(("q", "k", "v"), block.attn.qkv.bias.chunk(3), strict=True))
    biases |= {"proj": block.attn.proj.bias, "fc1": block.mlp.fc1.bias, "fc2": block.mlp.fc2.bias}
    linears = {}
    for part, weight in split_weights(block).items():
        changed, bias = weight.double(), biases[part].double()
        if part in ("q", "k", "v"):
            changed = changed / exact["scale.qkv"]
        if part == "fc1":
            changed = changed / exact["scale.fc1"]
        if part == "v":
            changed, bias = rotate_rows(changed, value), rotate_rows(bias[:, None], value)[:, 0]
        if part == "proj":
            changed = apply_kronecker(changed, None, value_undo)
        module = "mlp" if part in ("fc1", "fc2") else "attn"
        linears[f"{name}.{module}.{part}"] = job.round(
            f"{name}.{module}.{part}",
            changed.to(weight.dtype),
            bias.to(weight.dtype),
            transforms=transforms["qkv" if part in ("q", "k", "v") else part],
            act_clip=None
            if not scheme.quantizes_activations
            else torch.stack(input_clip(parameters, PARTS.index(part))),
            rounder=LearnedClipping(weight_clip(parameters, part), value if part == "v" else None),
            scheme=scheme,
        )
    return linears, overrides
