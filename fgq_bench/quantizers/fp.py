"""FP: nothing is quantized. The positive control, and what agreement is measured against."""

from __future__ import annotations

from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quantizers.base import Job, Quantizer


class FullPrecision(Quantizer):
    """Leave the model as it is."""

    def quantize(self, job: Job) -> QuantizedModel:
        """No linears at all."""
        return job.product({})
