"""RTN: round to nearest, without calibration."""

from __future__ import annotations

from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quantizers.base import Job, Quantizer


class RTN(Quantizer):
    """Round every target weight to the nearest point of its grid; the baseline that every method must beat."""

    def quantize(self, job: Job) -> QuantizedModel:
        """One rounded linear per target."""
        return job.product({name: job.round(name) for name in job.targets})
