"""What runs inside a Dask worker: it passes an order on to a child process and watches over it.

The order itself is never executed in the worker's own process: that would not survive a lack of memory, could not be
stopped when its time is over, and would keep the worker from answering its scheduler.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from distributed import get_worker

from fgq_bench.errors import OutputError, UserError
from fgq_bench.executors.base import Patience
from fgq_bench.executors.bundle import Bundle
from fgq_bench.executors.child import Child, Lost
from fgq_bench.executors.orders import CalibrationOrder, Order, RunOrder

LOOK = 0.2  # s between looks at whether anybody still waits for the answer
_turn = threading.Lock()  # one order at a time, whoever asks
_children: dict[tuple[Path, str], Child] = {}  # by root and sweep; there is at most one


@dataclass(frozen=True)
class Answer:
    """What became of an order.

    ``done``: ``content`` are a run's results as JSON; ``calibrated``: a bundle of what was captured, None on a shared
    folder; ``refused`` or ``lost``: the reason. Only what is lost is worth trying elsewhere.
    """

    kind: str
    content: bytes | Bundle | str | None


def carry_out(order: Order, patience: Patience, bundle: Bundle | None, shared: str | None, sweep: str) -> Answer:
    """Carry out ``order`` in this worker's child.

    Args:
        patience: its limits; whether to try again is the client's business.
        bundle: what calibration captured, if this worker was not given it before.
        sweep: its child serves this one only: another may bring other code, cards or pictures.
        shared: the sweep's output folder, if this machine sees it, too; None: a folder that goes with this worker.
    """
    root = Path(shared) if shared else Path(get_worker().local_directory) / "fgq-bench"
    if shared and not root.is_dir():
        return Answer("refused", f"--shared: the worker on {get_worker().address} has no folder {shared}")
    with _turn:
        try:
            if bundle is not None and isinstance(order, RunOrder) and order.calibration is not None:
                bundle.unpack(_statistics(root, order.calibration))
            return _pass_on(order, patience, (root, sweep), bool(shared))
        except (Lost, OSError) as error:
            return Answer("lost", str(error))
        except UserError as error:
            return Answer("refused", str(error))


def _statistics(root: Path, key: str) -> Path:
    return root / "cache" / "calibration" / key / "statistics"


def _pass_on(order: Order, patience: Patience, whose: tuple[Path, str], shared: bool) -> Answer:
    child = _child(whose, patience)
    child.send(order, patience)
    while True:
        message = child.receive(LOOK)
        if message is None or message[0] == "advance":
            if not _is_wanted():
                child.close()
                raise Lost("nobody waits for it any more")
            continue
        kind, content = message
        if kind == "output":
            raise OutputError(content)
        if kind == "done" and isinstance(order, CalibrationOrder):
            return Answer("calibrated", None if shared else Bundle.pack(_statistics(whose[0], order.key)))
        return Answer(kind, content)


def _child(whose: tuple[Path, str], patience: Patience) -> Child:
    """This worker's child, which keeps models between orders; another root or sweep than before takes another child."""
    found = _children.get(whose)
    if found is None or not found.fit(patience):
        for other in _children.values():
            other.close()
        _children.clear()
        found = _children[whose] = Child(whose[0])
    return found


def _is_wanted() -> bool:
    """Whether the task is still to be executed: the client may be gone, or this worker about to end."""
    worker = get_worker()
    state = worker.state.tasks.get(worker.get_current_task())
    return worker.status.name in ("running", "paused") and state is not None and state.state == "executing"
