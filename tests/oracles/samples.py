"""What many tests start from: the folder of golden files, and the sizes of small random models."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.models.pi3 import Pi3Config
from fgq_bench.models.vggt import VGGTConfig

GOLDEN = Path(__file__).parents[1] / "golden"
MICRO = VGGTConfig(
    dim=48,
    heads=4,
    depth=4,
    vit_depth=2,
    vit_heads=4,
    vit_grid=4,
    camera_depth=2,
    camera_heads=4,
    dpt_features=16,
    dpt_channels=(8, 16, 32, 32),
    dpt_levels=(0, 1, 2, 3),
    image_size=56,
)
MICRO_PI3 = Pi3Config(
    dim=48,
    heads=4,
    depth=2,
    vit_depth=2,
    vit_heads=4,
    vit_grid=4,
    expert_dim=48,
    expert_depth=2,
    camera_dim=24,
    image_size=56,
)
