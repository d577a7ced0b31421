"""How to add an executor.

A sweep plans, an executor computes, the sweep stores: an executor never writes a result. It is given runs that are
pending and yields what became of each, in any order. Here is a complete one, which computes in this process::

    class InThisProcess(Executor):
        '''One run after the other.'''

        def perform(self, pending: list[Pending], advance: Advance) -> Generator[Finished]:
            sweep = Sweep(self.workspace, on_bad_data=self.on_bad_data)
            for item in pending:
                yield sweep.compute(item, advance)

The others compute elsewhere, and share these parts:

- ``orders.py``: a run as plain data (names, cards, hashes; never a loaded model) and back. A worker refuses an order
  whose code, weights or frames are not the client's, so no result is filed under a key that it does not deserve.
- ``workshop.py``: what a worker keeps between orders (models, data sets, scenes), and how it carries one out. Results
  come back as bytes: the JSON that the store will write.
- ``child.py``: the process that carries orders out. It can be killed: for its time limit or its memory limit, by the system for lack of
  memory, by an administrator. Whoever asked is told and stays alive.
- ``dispatch.py``: which worker does what next; what a lost worker had is tried elsewhere, ``Patience.retries`` times.
- ``local.py`` (processes on this machine) and ``dask_cluster.py`` (a Dask cluster) only carry messages.

Whoever executes, the bytes in the store are the same: workers compute with as many threads as the client would
(``OMP_NUM_THREADS`` sets both). ``tests/executors`` holds every executor to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass

from fgq_bench.runner import Advance, Finished, OnBadData, Pending, Workspace


@dataclass(frozen=True)
class Patience:
    """How often a run whose worker was lost is tried again, and how long one may take."""

    retries: int = 2
    time_limit: float | None = None  # s, from a worker that is ready to the run's last cell; None: no limit
    memory_limit: int | None = None  # bytes of host memory that a worker's process may hold; None: no limit

    @property
    def watches(self) -> bool:
        """Whether somebody must look on: what has a limit cannot run in the process that keeps it."""
        return self.time_limit is not None or self.memory_limit is not None


class Executor(ABC):
    """Computes pending runs; see the module's docstring for the tutorial.

    Args:
        workspace: folders of the sweep's output, on the client's machine.
        on_bad_data: see ``Sweep``.
        patience: what is done about workers that are lost.
    """

    def __init__(self, workspace: Workspace, on_bad_data: OnBadData, patience: Patience) -> None:
        self.workspace, self.on_bad_data, self.patience = workspace, on_bad_data, patience

    @abstractmethod
    def perform(self, pending: list[Pending], advance: Advance) -> Generator[Finished]:
        """Compute ``pending``; yields every run once. Closing the generator ends what was started for it.

        Raises:
            OutputError: the workspace cannot be written.
            UserError: nobody is there to compute.
        """
