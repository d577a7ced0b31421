"""How much worse than full precision: of a measured sample, and of a printed number, in percent of full precision."""

from __future__ import annotations

from fgq_bench.errors import UserError
from fgq_bench.reporting.published import PublishedCell
from fgq_bench.reporting.statistics import Array, Interval, Sample


def difference(here: Interval, printed: Interval) -> Interval:
    """Loss here minus loss printed; its interval holds the sampling error here and the rounding of what is printed."""
    return Interval(here.value - printed.value, here.low - printed.high, here.high - printed.low)


def loss_samples(sample: Sample, full: Sample, higher_is_better: bool) -> Array | None:
    """Loss of ``sample`` against ``full`` on the same sequences [1 + R]: itself, then under every resample.

    Positive is worse; None where full precision is 0 in some resample. Both are drawn together, so that what they share
    cancels. Raises UserError where they were scored on different sequences.
    """
    if sample.names != full.names:
        raise UserError("a row and its full precision were scored on different sequences and cannot be compared")
    reference = full.resampled
    if not (reference > 0).all():
        return None
    change = 100 * (sample.resampled - reference) / reference
    return -change if higher_is_better else change


def printed_loss(cell: PublishedCell, full: PublishedCell) -> Interval | None:
    """Loss of a printed number; low and high are what the rounding of both numbers allows. None where it has no limit."""
    if full.low <= 0:
        return None
    sign = -100.0 if cell.higher_is_better else 100.0
    ends = [sign * (value / reference - 1) for value in (cell.low, cell.high) for reference in (full.low, full.high)]
    return Interval(sign * (cell.value / full.value - 1), min(ends), max(ends))
