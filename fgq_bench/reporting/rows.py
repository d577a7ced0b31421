"""A report's rows as its card writes them: ``METHOD[:PRESET] SCHEME [KEY=VALUE ...] [@CALIBRATION]``.

``seed=N`` among the options is the row's seed, in place of the report's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fgq_bench.cards import Scalar
from fgq_bench.errors import UserError
from fgq_bench.registry import parse_overrides
from fgq_bench.seeds import check_seed

_FORM = "'METHOD[:PRESET] SCHEME [KEY=VALUE ...] [@CALIBRATION]' (a value is a number, true, false or text)"
_SEED = "seed="
_WORD = r"[^\s=@]+"
_GRAMMAR = re.compile(rf"(?P<method>{_WORD}) (?P<scheme>{_WORD})(?P<options>(?: {_WORD}=\S+)*)(?: @(?P<manifest>\S+))?")


@dataclass(frozen=True)
class RowText:
    """A row of a card, taken apart; ``options`` are as ``--set`` is given them, ``calibration`` as ``--calibration``."""

    text: str
    method: str  # NAME[:PRESET]
    scheme: str
    options: tuple[str, ...]
    calibration: str | None

    @classmethod
    def parse(cls, report: str, text: str) -> RowText:
        """Read a row such as ``quantvggt w4a4 rotation=false @nfds-40x10``; raises UserError that names ``report``."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise UserError(f"report {report}: row {text!r} is not of the form {_FORM}")
        row = cls(text, match["method"], match["scheme"], tuple(match["options"].split()), match["manifest"])
        try:
            row.overrides()
            row.seeds([])
        except (UserError, ValueError):
            raise UserError(f"report {report}: row {text!r} is not of the form {_FORM}") from None
        return row

    def overrides(self) -> dict[str, Scalar]:
        """The options' values."""
        return parse_overrides([option for option in self.options if not option.startswith(_SEED)])

    def seeds(self, default: list[int]) -> list[int]:
        """The row's own seed, else ``default``."""
        own = [option.removeprefix(_SEED) for option in self.options if option.startswith(_SEED)]
        if odd := [text for text in own if not re.fullmatch("[0-9]{1,19}", text)]:
            raise ValueError(f"{odd[0]!r} is no seed")
        return [check_seed(int(text)) for text in own] or default

    @property
    def label(self) -> str:
        """The row without its scheme: what tells it from the others at the same scheme."""
        return " ".join([self.method, *self.options, *([f"@{self.calibration}"] if self.calibration else [])])
