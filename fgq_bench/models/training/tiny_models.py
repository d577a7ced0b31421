"""How the embedded models are made, by name."""

from __future__ import annotations

from fgq_bench.models.checkpoints import load_model
from fgq_bench.models.pi3 import Pi3
from fgq_bench.models.tiny import PI3_TINY, VGGT_TINY
from fgq_bench.models.training.objective import Training
from fgq_bench.models.training.pi3_objective import Pi3Objective, inherit
from fgq_bench.models.training.recipe import Phase
from fgq_bench.models.training.vggt_objective import VGGTObjective, initialise_dense_heads
from fgq_bench.models.vggt import VGGT

PEAK = 2e-3
VGGT_RECIPE = (
    Phase(100, 4, 32, rate=(1e-4, PEAK), studio=(1, 1), spread=(0.7, 0.7)),
    Phase(600, 4, 32, rate=(PEAK, PEAK), studio=(1, 1), spread=(0.7, 0.7)),
    Phase(800, 4, 32, rate=(PEAK, PEAK), studio=(1, 0.2), spread=(0.7, 1), rooms=(0, 0.3)),
    Phase(200, 4, 32, rate=(PEAK, PEAK), studio=(0.2, 0.1), rooms=(0.3, 0.4)),
    Phase(1050, 4, 32, rate=(PEAK, 1e-5), studio=(0.1, 0), rooms=(0.4, 0.4)),
)

PI3_PEAK = 5e-4
PI3_RECIPE = (  # no curriculum: what VGGT learned in the studio is there from the start
    Phase(50, 4, 32, rate=(1e-5, PI3_PEAK), rooms=(0.4, 0.4)),
    Phase(200, 4, 32, rate=(PI3_PEAK, PI3_PEAK), rooms=(0.4, 0.4)),
    Phase(600, 4, 32, rate=(PI3_PEAK, 1e-5), rooms=(0.4, 0.4)),
)


def start_from_vggt_tiny(model: Pi3) -> None:
    """See ``inherit``."""
    parent = load_model("vggt-tiny")
    assert isinstance(parent, VGGT)
    inherit(model, parent)


TINY_MODELS = {
    "vggt-tiny": Training(VGGT_TINY, initialise_dense_heads, VGGTObjective, VGGT_RECIPE),
    "pi3-tiny": Training(PI3_TINY, start_from_vggt_tiny, Pi3Objective, PI3_RECIPE),
}
