"""Exact bytes of a quantized model by component, beside the same model in bf16."""

from __future__ import annotations

from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.packing import packed_bytes

BF16 = 2  # bytes of a number that is not quantized


def count_bytes(model: ReconstructionModel, quantized: QuantizedModel) -> dict[str, int]:
    """Bytes of the deployed model: packed codes, fp32 scales, one byte a zero point, bf16 for everything else.

    Args:
        model: the float model that ``quantized`` was made from.

    Returns:
        ``aa``, ``dino``, ``camera``, ``heads`` (codes and float parameters there), ``scales`` (with zero points),
        ``transforms``, ``total``, and ``total_bf16`` for the unquantized model.
    """
    sizes = dict.fromkeys(("aa", "dino", "camera", "heads", "scales", "transforms"), 0)
    weights = {f"{name}.weight": linear for name, linear in quantized.linears.items()}
    total_bf16 = 0
    for name, parameter in model.named_parameters():
        total_bf16 += BF16 * parameter.numel()
        linear = weights.get(name)
        if linear is None or not linear.scheme.quantizes_weights:
            sizes[model.component_of(name)] += BF16 * parameter.numel()
            continue
        sizes[model.component_of(name)] += packed_bytes(linear.codes.numel(), linear.scheme.weight_bits)
        for part, size in ((linear.weight_scale, 4), (linear.weight_zero, 1)):
            sizes["scales"] += 0 if part is None else size * part.numel()
    return {**sizes, "total": sum(sizes.values()), "total_bf16": total_bf16}
