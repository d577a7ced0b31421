"""How much worse than full precision: of a measured sample, and of a printed number, in percent of full precision."""

from __future__ import annotations

from dataclasses import dataclass

from fgq_bench.reporting.published import PublishedCell
from fgq_bench.reporting.statistics import Interval, Sample, percentiles


@dataclass(frozen=True)
class Compared:
    """Loss here minus loss printed, in percentage points."""

    here: Interval
    printed: Interval

    @property
    def difference(self) -> Interval:
        """Its interval holds the sampling error here and the rounding of the printed numbers."""
        return Interval(
            self.here.value - self.printed.value, self.here.low - self.printed.high, self.here.high - self.printed.low
        )


def measured_loss(sample: Sample, full: Sample, higher_is_better: bool) -> Interval | None:
    """Loss of ``sample`` against ``full`` on the same sequences and resamples; None where full precision is 0.

    Positive is worse. A paired bootstrap: both are drawn together, so that what they share cancels.
    """
    reference = full.resampled
    if sample.names != full.names or not (reference > 0).all():
        return None
    change = 100 * (sample.resampled - reference) / reference
    return percentiles(-change if higher_is_better else change)


def printed_loss(cell: PublishedCell, full: PublishedCell) -> Interval | None:
    """Loss of a printed number; low and high are what the rounding of both numbers allows. None where it has no limit."""
    if full.low <= 0:
        return None
    sign = -100.0 if cell.higher_is_better else 100.0
    ends = [sign * (value / reference - 1) for value in (cell.low, cell.high) for reference in (full.low, full.high)]
    return Interval(sign * (cell.value / full.value - 1), min(ends), max(ends))
