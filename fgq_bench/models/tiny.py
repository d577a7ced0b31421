"""``vggt-tiny``: the embedded model's sizes and the recipe that trained it."""

from __future__ import annotations

from fgq_bench.models.training.recipe import Phase
from fgq_bench.models.vggt import VGGTConfig

TINY = VGGTConfig(
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

PEAK = 2e-3
RECIPE = (
    Phase(100, 4, 32, rate=(1e-4, PEAK), studio=(1, 1), spread=(0.7, 0.7)),
    Phase(600, 4, 32, rate=(PEAK, PEAK), studio=(1, 1), spread=(0.7, 0.7)),
    Phase(800, 4, 32, rate=(PEAK, PEAK), studio=(1, 0.2), spread=(0.7, 1), rooms=(0, 0.3)),
    Phase(200, 4, 32, rate=(PEAK, PEAK), studio=(0.2, 0.1), rooms=(0.3, 0.4)),
    Phase(1050, 4, 32, rate=(PEAK, 1e-5), studio=(0.1, 0), rooms=(0.4, 0.4)),
)
