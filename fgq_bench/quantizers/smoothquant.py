"""SmoothQuant: move outliers from activations into weights, channel by channel (Xiao et al., ICML 2023)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import find_linear
from fgq_bench.quantizers.base import Job, Quantizer
from fgq_bench.quantizers.scaling import ChannelScaling

FLOOR = 1e-5  # smallest magnitude of a channel


def smoothing_multiplier(input_maximum: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """1 / s [in] of eq. 4: s_j = max|x_j|^alpha / max|W_j|^(1 - alpha), magnitudes floored at 1e-5.

    Args:
        input_maximum: max |x_j| [in] over the calibration tokens.
        weight: [out, in].
    """
    largest = weight.abs().amax(0).double().clamp(min=FLOOR)
    multiplier: Tensor = largest ** (1 - alpha) / input_maximum.double().clamp(min=FLOOR) ** alpha
    return multiplier


class SmoothQuant(Quantizer):
    """Scale every input by 1 / s, its weight by s, then round to nearest."""

    class Options(Quantizer.Options):
        """``alpha``: share of the difficulty that moves into the weights; ``fold``: where proj's scale goes."""

        alpha: float = Field(0.5, ge=0, le=1)
        fold: Literal["online", "v"] = "online"

    options: Options

    def quantize(self, job: Job) -> QuantizedModel:
        """See ``Quantizer``."""
        scaling = ChannelScaling(job)
        for name in job.targets:
            weight, _ = find_linear(job.model, name)
            multiplier = smoothing_multiplier(job.statistics(name).maximum, weight, self.options.alpha)
            scaling.add(name, multiplier, into_v=self.options.fold == "v")
        return job.product({name: scaling.round(name) for name in job.targets}, scaling.overrides)
