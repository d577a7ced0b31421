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


SEVERAL = (2, 3, 4, 5, 6)  # frames
GPU_PEAK = 1.5e-3


def gpu_recipe(steps: int, batch: int, peak: float) -> tuple[Phase, ...]:
    """The curriculum of VGGT_RECIPE for one GPU: other lengths of sequences, larger batches, more and longer phases."""
    return (
        Phase(steps // 40, 4, batch, rate=(1e-5, peak), studio=(1, 1), spread=(0.7, 0.7)),
        Phase(steps // 5, 4, batch, rate=(peak, peak), studio=(1, 1), spread=(0.7, 0.7)),
        Phase(steps // 4, SEVERAL, batch, rate=(peak, peak), studio=(1, 0.2), spread=(0.7, 1), rooms=(0, 0.4)),
        Phase(
            steps - steps // 40 - steps // 5 - steps // 4,
            SEVERAL,
            batch,
            rate=(peak, 1e-6),
            studio=(0.2, 0),
            rooms=(0.4, 0.5),
        ),
    )


def start_from_scratch(model: Pi3) -> None:
    """PyTorch's initialisation: nothing is inherited."""


def start_from_vggt_tiny(model: Pi3) -> None:
    """See ``inherit``."""
    parent = load_model("vggt-tiny")
    assert isinstance(parent, VGGT)
    inherit(model, parent)


TINY_MODELS = {
    "vggt-tiny": Training(VGGT_TINY, initialise_dense_heads, VGGTObjective, VGGT_RECIPE),
    "pi3-tiny": Training(PI3_TINY, start_from_vggt_tiny, Pi3Objective, PI3_RECIPE),
    "vggt-tiny.v2": Training(VGGT_TINY, initialise_dense_heads, VGGTObjective, gpu_recipe(9000, 64, GPU_PEAK)),
    "pi3-tiny.v2": Training(PI3_TINY, start_from_scratch, Pi3Objective, gpu_recipe(6000, 64, GPU_PEAK)),
}
