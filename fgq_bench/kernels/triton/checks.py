"""What the matrix kernels ask of their arguments, told before a launch reads foreign memory."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_WIDTH = 131071  # 128 * 128 * width, and 16 * 8 * 128 * width, stay below 2^31
OUTPUTS = (torch.bfloat16, torch.float16, torch.float32)


def expect(name: str, tensor: Tensor | None, dtypes: tuple[torch.dtype, ...], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``tensor`` is None or has one of ``dtypes``, the ``shape``, and lies in one piece."""
    if tensor is None:
        return
    if tensor.dtype not in dtypes or tuple(tensor.shape) != shape:
        wanted = " or ".join(str(dtype) for dtype in dtypes)
        raise ValueError(f"{name} must be {wanted} {list(shape)}, not {tensor.dtype} {list(tensor.shape)}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous; its strides are {tensor.stride()}")


def rows_and_width(name: str, tensor: Tensor) -> tuple[int, int]:
    """The sizes of a matrix; ValueError for any other tensor."""
    if tensor.dim() != 2:
        raise ValueError(f"{name} must be a matrix (flatten leading dimensions first), not {list(tensor.shape)}")
    return tensor.shape[0], tensor.shape[1]


def expect_sizes(channels: int, width: int) -> None:
    """Raise ValueError for a weight [channels, width] that no kernel takes."""
    if channels % 16 or width % 16 or not (channels and width):
        raise ValueError(
            f"the weight's sizes must be multiples of 16 (rows are read 16 bytes at a time): {channels} x {width}"
        )
    if width > MAX_WIDTH:
        raise ValueError(f"int32 sums may overflow beyond {MAX_WIDTH} columns: {width}")
    if channels * width >= 1 << 31:
        raise ValueError(f"a weight of {channels} x {width} is too large: places in it are counted in int32")


def expect_int8_product(
    codes: Tensor, scale: Tensor | None, weight: Tensor, weight_scale: Tensor | None, bias: Tensor | None
) -> tuple[int, int, int]:
    """Tokens, channels and width of an int8 product; ValueError for wrong types, shapes or strides."""
    (tokens, width), (channels, _) = rows_and_width("codes", codes), rows_and_width("weight", weight)
    expect_sizes(channels, width)
    expect("codes", codes, (torch.int8,), (tokens, width))
    expect("weight", weight, (torch.int8,), (channels, width))
    expect("scale", scale, (torch.float32,), (tokens,))
    expect("weight_scale", weight_scale, (torch.float32,), (channels,))
    expect("bias", bias, (torch.float32,), (channels,))
    return tokens, channels, width


def expect_output(dtype: torch.dtype) -> None:
    """Raise ValueError for an output ``dtype`` that no kernel writes."""
    if dtype not in OUTPUTS:
        raise ValueError(f"outputs are {', '.join(map(str, OUTPUTS))}, not {dtype}")


def expect_grid(
    scale: Tensor,  # [N, groups] fp32
    zero: Tensor | None,  # [N, groups] int8
    channels: int,
    width: int,
    group_size: int | None,
) -> None:
    """Raise ValueError unless the weight's grid has one scale per channel, or one per group of ``group_size`` columns.

    Grids may have any strides: stored as [groups, N] and passed transposed, neighbouring channels are read together.
    """
    groups = 1
    if group_size is not None:
        if group_size <= 0 or group_size % 16 or width % group_size:
            raise ValueError(f"the group size must be a multiple of 16 that divides {width}, not {group_size}")
        groups = width // group_size
    for name, tensor, dtype in (("weight_scale", scale, torch.float32), ("weight_zero", zero, torch.int8)):
        if tensor is not None and (tensor.dtype != dtype or tuple(tensor.shape) != (channels, groups)):
            wanted = f"{dtype} {[channels, groups]}"
            raise ValueError(f"{name} must be {wanted}, not {tensor.dtype} {list(tensor.shape)}")
