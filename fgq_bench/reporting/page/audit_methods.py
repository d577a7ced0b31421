"""How each check of the audit comes to its findings, and the file that computes it."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Final

from fgq_bench.reporting.audit import (
    auc_algebra,
    claims,
    conditions,
    copies,
    error_algebra,
    precision,
    references,
    repeats,
    rivals,
)


@dataclass(frozen=True)
class Method:
    """What is computed from the printed numbers, and where."""

    module: ModuleType
    text: str

    @property
    def source(self) -> str:
        """``fgq_bench/reporting/audit/copies.py``."""
        return self.module.__name__.replace(".", "/") + ".py"


METHODS: Final = {
    "AUC algebra": Method(
        auc_algebra,
        "The AUCs of one row are means of one histogram of errors, so the mean accuracy between two thresholds s < t, "
        "(t AUC@t − s AUC@s) / (t − s), neither falls with the thresholds nor exceeds 1. A linear programme looks for values "
        "that round to the printed ones and satisfy this; off by: how far every rounding interval must be widened.",
    ),
    "AUC saturation": Method(
        auc_algebra,
        f"The same mean accuracies; listed where the last one exceeds {auc_algebra.SATURATED} whatever the rounding.",
    ),
    "between thresholds": Method(
        auc_algebra,
        "The same mean accuracies of a quantized row and of its full precision; listed where the first is the larger "
        "whatever the rounding.",
    ),
    "error bounds": Method(
        error_algebra,
        "Markov's inequality at the ends of the rounding intervals: a median is at most twice the mean, AbsRel at least "
        "0.2 (1 − δ<1.25).",
    ),
    "mean and median": Method(
        error_algebra,
        "Distances have a long tail: their mean lies above their median. Listed is the one row of a column where it does "
        f"not, if it does in {error_algebra.OTHERS} or more.",
    ),
    "repeats": Method(
        repeats,
        "Every number that is printed more than once: same method (FGQ without weights is FlatQuant), scheme, data set, "
        "protocol and metric. Listed where no one value rounds to all.",
    ),
    "scatter": Method(
        repeats,
        "The largest difference between two printings of one configuration; listed are rows of those tables that "
        "differ from the paper's own method by less.",
    ),
    "same quantity": Method(
        claims,
        "Two cells that ought to agree for the reason given, in one unit; listed where no one value rounds to both.",
    ),
    "claims": Method(
        claims,
        "The number of a sentence, computed again from the cells that it is about, whatever their rounding. Inconsistent: "
        "it does not follow. Suspicious: it does, but not elsewhere, where the sentence would be as much to the point.",
    ),
    "reference row": Method(
        references,
        "Full precision of a table against the paper's other tables: listed where it agrees with none of its own protocol "
        "and in all cells with another's.",
    ),
    "copies": Method(
        copies,
        "Rows of different settings, or of two papers under different conditions, that print the same wherever both print "
        f"(two cells or more; of one paper, inconsistent from {copies.MANY} on); 4-bit rows of which half or more is full "
        "precision's to the digit.",
    ),
    "better than full precision": Method(
        precision, "Every score against the full precision of the same table, counted by method."
    ),
    "column beats full precision": Method(
        precision, f"Columns in which every row at a scheme, {precision.FEW} or more, beats full precision."
    ),
    "better with fewer bits": Method(
        precision,
        f"A method's values in one column from full precision down, {precision.FEW} or more; listed where each is better "
        "than the one before.",
    ),
    "never worse": Method(
        rivals,
        f"The paper's own method against every rival, cell by cell at the same scheme; listed from {rivals.FEW} cells on. "
        "What a second printing would show takes the printed differences for the true ones and a normal scatter.",
    ),
    "gains": Method(
        rivals,
        f"Relative gains of the paper's own method at {rivals.NOISY}, cell by cell; medians over groups of data sets, and "
        "the largest.",
    ),
    "worse than rounding": Method(
        rivals,
        "Every method against rounding to nearest, cell by cell at the same scheme; listed if a quarter or more is lost.",
    ),
    "more frames": Method(
        conditions,
        "By how many points of AUC each row changes from 10 to 20 frames, against full precision's change.",
    ),
    "speed by frames": Method(
        conditions, "A row's printed speed-ups by number of frames; listed where each is larger than the one before."
    ),
    "latency by data set": Method(
        conditions,
        "A row's latency over full precision's on every data set, frames and machine the same; listed where rounding and "
        "image shape cannot explain the difference.",
    ),
    "memory": Method(
        conditions,
        "The share of weights that the printed reduction needs, (1 − 1 / reduction) / (1 − bits / 16), against the share of "
        "the aggregator's linears in VGGT-1B.",
    ),
    "best setting": Method(conditions, "Every setting of a sweep against the one that the paper chose."),
    "across papers": Method(
        references,
        "Full precision of one model on one data set as each paper prints it; listed where no one value rounds to all.",
    ),
    "weak reference": Method(
        references,
        "Printed gains over what is slower or larger than 16-bit floating point; where a paper prints FP32 and BF16, its "
        "rows against both.",
    ),
}
