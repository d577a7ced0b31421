"""What of FGQ and QVGGT has no effect, as the short trainings and the tokens of ``fgq-bench fisher-validity`` show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fgq_bench.fisher_validity.cancellation import EXPONENT
from fgq_bench.reporting.page.tables import PageTable
from fgq_bench.reporting.tables import Cell, Table

CONTROL = "weights permuted"  # the training that must differ
TRAININGS: Final = ("plain", "factors before", "factors after", CONTROL)  # beginnings of their names
ROUNDING = 1e-12  # relative; above what float64 leaves of one value, below what any scheme resolves


@dataclass(frozen=True)
class Cancellation:
    """``cancel``: every artefact but the control's is the plain training's, byte by byte."""

    cancel: bool
    tables: Sequence[PageTable]
    token_deviation: str  # of the compensation token from the mean camera token, over the mean's largest entry
    token_equal: bool

    @classmethod
    def read(cls, facts: dict[str, Any]) -> Cancellation:
        """From the facts of ``fisher-validity.json``."""
        c, deviation = facts["cancellation"], facts["token_deviation"]
        artefacts: dict[str, str] = c["artefacts"]
        names = [name for kind in TRAININGS for name in artefacts if name.startswith(kind)]
        same = {name: artefacts[name] == artefacts["plain"] for name in names}
        cancel = all(same[name] != name.startswith(CONTROL) for name in names)
        tables = [PageTable.read(table) for table in (_trainings(c, same), _weights(c))]
        return cls(cancel, tables, f"{deviation:.1e}", deviation < ROUNDING)


def _trainings(c: dict[str, Any], same: dict[str, bool]) -> Table:
    rows = [
        [Cell(name), Cell(c["artefacts"][name][:16]), Cell("identical bytes" if equal else "differs")]
        for name, equal in same.items()
    ]
    caption = (
        f"FGQ trained on the first {c['blocks']} blocks ({c['scheme']}, {c['clips']} clips, {c['epochs']} epochs), without "
        f"and with a random power of two from 1/{2**EXPONENT} to {2**EXPONENT} per block. Permuted weights are the control."
    )
    return Table("validity-artefacts", "Artefacts", caption, ["Training", "SHA-256", "Against plain"], rows)


def _weights(c: dict[str, Any]) -> Table:
    changes = sorted(c["weight_changes"].items(), key=lambda item: "+" in item[0])  # single tasks first
    rows = [[Cell(tasks.replace("+", ", ")), Cell(f"{value:.2g}")] for tasks, value in changes]
    caption = (
        "Largest relative change of a channel's weight over random factors per block on the Fisher information "
        f"({c['estimator']})."
    )
    return Table("validity-weights", "Weights", caption, ["Tasks", "Change"], rows)
