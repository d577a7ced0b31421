"""Sizes of the embedded models; ``training/tiny_models.py`` says how they are made."""

from __future__ import annotations

from fgq_bench.models.pi3 import Pi3Config
from fgq_bench.models.vggt import VGGTConfig

VGGT_TINY = VGGTConfig(
    dim=192,
    heads=6,
    depth=4,
    vit_depth=2,
    vit_heads=6,
    vit_grid=6,
    camera_depth=1,
    camera_heads=6,
    dpt_features=32,
    dpt_channels=(32, 64, 128, 128),
    dpt_levels=(0, 1, 2, 3),
    layer_scale=1.0,
    image_size=84,
)

PI3_TINY = Pi3Config(  # the trunk of VGGT_TINY: training starts from its weights
    dim=192,
    heads=6,
    depth=4,
    vit_depth=2,
    vit_heads=6,
    vit_grid=6,
    expert_dim=192,
    expert_depth=2,
    camera_dim=96,
    layer_scale=1.0,
    image_size=84,
)
