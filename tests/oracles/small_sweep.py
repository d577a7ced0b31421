"""A small sweep that executors are given."""

from __future__ import annotations

from dataclasses import dataclass

from fgq_bench.executors.base import Executor
from fgq_bench.planning import Run
from fgq_bench.runner import Outcome, Sweep


@dataclass
class Small:
    """A sweep of 3 runs, 6 cells, one of them calibrated."""

    runs: list[Run]
    expected: dict[str, bytes]  # files of the store when this process computes it

    def sweep(self, executor: Executor, runs: list[Run] | None = None) -> Outcome:
        """Let ``executor`` compute it."""
        steps: list[int] = []
        sweep = Sweep(executor.workspace, perform=executor.perform)
        outcome = sweep.execute(self.runs if runs is None else runs, lambda label, n: steps.append(n))
        if not outcome.failed:
            assert sum(steps) == 2 * len(self.runs if runs is None else runs), "progress reaches its end, no more"
        return outcome
