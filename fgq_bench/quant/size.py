"""Exact bytes of a quantized model by component, beside the same model in bf16."""

from __future__ import annotations

from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import fused_part
from fgq_bench.quant.packing import packed_bytes

BF16 = 2  # bytes of a number that is not quantized


def count_bytes(model: ReconstructionModel, quantized: QuantizedModel) -> dict[str, int]:
    """Bytes of the deployed model: packed codes, fp32 scales (static ones of inputs too) and clips, one byte a zero
    point, transforms as stored (shared ones once), bf16 for everything else.

    Args:
        model: the float model that ``quantized`` was made from.

    Returns:
        ``aa``, ``dino``, ``camera``, ``heads`` (codes and float parameters there), ``scales`` (with zero points and clips),
        ``transforms``, ``total``, and ``total_bf16`` for the unquantized model.
    """
    sizes = dict.fromkeys(("aa", "dino", "camera", "heads", "scales", "transforms"), 0)
    quantized_weights: set[str] = set()
    transforms: dict[int, int] = {}
    for name, linear in quantized.linears.items():
        for transform in linear.transforms:
            transforms[id(transform)] = sum(b.numel() * b.element_size() for b in transform.buffers())
        for tensor, size in ((linear.act_clip, 4), (linear.act_scale, 4), (linear.act_zero, 1)):
            sizes["scales"] += 0 if tensor is None else size * tensor.numel()
        if linear.scheme.quantizes_weights:
            part = fused_part(name)
            weight = f"{part[0] if part else name}.weight"
            quantized_weights.add(weight)
            sizes[model.component_of(weight)] += packed_bytes(linear.codes.numel(), linear.scheme.weight_bits)
            for tensor, size in ((linear.weight_scale, 4), (linear.weight_zero, 1)):
                sizes["scales"] += 0 if tensor is None else size * tensor.numel()
    sizes["transforms"] = sum(transforms.values())
    if quantized.camera_tokens is not None:
        sizes["camera"] += BF16 * quantized.camera_tokens.numel()
    total_bf16 = 0
    for name, parameter in model.named_parameters():
        total_bf16 += BF16 * parameter.numel()
        if name not in quantized_weights:
            sizes[model.component_of(name)] += BF16 * parameter.numel()
    return {**sizes, "total": sum(sizes.values()), "total_bf16": total_bf16}
