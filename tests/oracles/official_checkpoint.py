"""A checkpoint in the layout of facebook/VGGT-1B with random weights: every key and shape, fp32 safetensors, 5 GB."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import torch
from samples import GOLDEN
from torch import Tensor

from fgq_bench.latency.deployment import RANDOM_SCALE

FP32 = 4  # bytes


def official_shapes() -> dict[str, tuple[int, ...]]:
    """Key -> shape of the official state dict, its track head included."""
    with (GOLDEN / "vggt1b_state_dict.csv").open() as file:
        return {row["key"]: tuple(map(int, row["shape"].split("x"))) for row in csv.DictReader(file)}


def random_tensor(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Values as in ``latency.deployment.random_model``, with which activations stay finite; but LayerScale is 1, so
    that what a block computes, and what quantization does to it, is seen in the predictions.
    """
    if len(shape) > 1:
        return RANDOM_SCALE * torch.randn(shape, generator=generator)
    return torch.full(shape, float(key.endswith(("weight", "gamma"))))


def write_official(path: Path, seed: int = 0) -> None:
    """Write the file tensor by tensor (the format: header length, JSON header, values); memory holds one tensor."""
    header, end = {}, 0
    for key, shape in official_shapes().items():
        start, end = end, end + FP32 * math.prod(shape)
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key, shape in official_shapes().items():
            file.write(random_tensor(key, shape, generator).numpy().tobytes())
