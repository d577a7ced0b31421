"""What became of one fault, and how many of a kind did no harm."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """One kind of fault. ``outcomes`` counts what became of each; whatever is in ``lost`` is a defect of the project."""

    fault: str
    expected: str
    outcomes: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)  # one line each: how to see it again, and what went wrong
    note: str = ""

    @property
    def tried(self) -> int:
        """How many."""
        return sum(self.outcomes.values()) + len(self.lost)

    def count(self, outcome: str, times: int = 1) -> None:
        """One more that ended as it should."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + times

    def judge(self, outcome: str, problems: list[str]) -> None:
        """Count ``outcome`` if there are no ``problems``, else the first of them as a loss."""
        if problems:
            self.lost.append(problems[0])
        else:
            self.count(outcome)
