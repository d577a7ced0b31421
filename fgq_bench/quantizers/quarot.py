"""QuaRot as the VGGT papers run it: a random Hadamard rotation of every linear's input (Ashkboos et al., NeurIPS 2024).

The original fuses a rotation of the residual stream into the weights on both sides of an RMSNorm. That does not exist
here: LayerNorm with a bias and LayerScale do not commute with a rotation, so every rotation is online and counted.
"""

from __future__ import annotations

import torch

from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import find_linear
from fgq_bench.quant.transforms import Hadamard
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.gptq import GPTQOptions


class QuaRot(Quantizer):
    """Rotate each input by a randomised Hadamard transform; round weights to nearest, or with GPTQ."""

    class Options(GPTQOptions):
        """``gptq``: round with GPTQ (its options apply) instead of to nearest."""

        gptq: bool = False

    options: Options

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``; raises UserError for a width without a Hadamard matrix."""
        generator = torch.Generator().manual_seed(job.seed)
        linears = {}
        for name in job.targets:
            weight, _ = find_linear(job.model, name)
            rotation = Hadamard.random(weight.shape[1], generator).to(weight.device)
            if self.options.gptq:
                hessian = rotation.of_hessian(job.statistics(name).hessian.double())
                linears[name] = job.round(name, transforms=[rotation], rounder=self.options.rounder(hessian))
            else:
                linears[name] = job.round(name, transforms=[rotation])
        return job.product(linears)
