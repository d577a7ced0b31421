"""The process that carries out orders: it may be killed at any time, and whoever asked is told.

It is a new Python with a pipe to its parent, not a ``multiprocessing`` worker: Dask's own workers may not have those.
It ends when its parent does, however that happens (``start_python``).
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fgq_bench.errors import OutputError, UserError
from fgq_bench.executors.admission import resident_bytes
from fgq_bench.executors.base import Patience
from fgq_bench.executors.orders import Order
from fgq_bench.processes import start_python
from fgq_bench.scratch import clear_below
from fgq_bench.terminal import set_up_output

START_LIMIT = 600.0  # s, to import torch on a cold network disk


class Lost(Exception):
    """A worker is gone with its order; the message says why, in one line."""


class Child:
    """A process for orders, one at a time; started at once.

    Args:
        root: folder of artefacts and cache (see ``Workshop``).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process, self.connection = start_python("fgq_bench.executors.child", str(root))
        self._ready = self._busy = False
        self._limits = Patience()
        self._deadline = time.monotonic() + START_LIMIT

    def send(self, order: Order, limits: Patience) -> None:
        """Give it an order with the ``limits`` of its run; time counts from when it has started up.

        If it is dead, ``receive`` says so.
        """
        self._limits, self._busy = limits, True
        if self._ready:
            self._restart_clock()
        with suppress(OSError):
            self.connection.send(order)

    def receive(self, wait: float = 0.0) -> tuple[str, Any] | None:
        """Its next message, None where there is none within ``wait`` seconds.

        ``("advance", (label, sequences))``, ``("done", bytes)``, or ``("refused", reason)`` for an order that it cannot
        carry out, ``("output", reason)`` where the disk refuses. Raises Lost when it died or passed a limit, which
        ends it.
        """
        try:
            self._check_limits()
            if not self.connection.poll(wait):
                return None
            message: tuple[str, Any] = self.connection.recv()
        except (EOFError, OSError):
            raise Lost(self._epitaph()) from None
        if message[0] == "ready":
            self._ready = True
            self._restart_clock()
            return None
        self._busy = message[0] == "advance"
        return message

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def fit(self, limits: Patience) -> bool:
        """Whether it may be given another order: it lives, and what it keeps leaves half of the memory limit free."""
        held = resident_bytes(self.process.pid)
        return self.alive and (limits.memory_limit is None or held is None or 2 * held < limits.memory_limit)

    def close(self) -> None:
        """End it, whatever it is doing, and remove what it was about to write."""
        self.process.kill()
        self.process.wait()
        self._put_away()

    def _put_away(self) -> None:
        self.connection.close()
        if self._busy:
            clear_below(self.root)

    def _restart_clock(self) -> None:
        limit = self._limits.time_limit
        self._deadline = float("inf") if limit is None else time.monotonic() + limit

    def _check_limits(self) -> None:
        """Raise Lost, after ending it, where it has passed one; what it has said by then is still heard first."""
        most, time_limit = self._limits.memory_limit, self._limits.time_limit
        held = None if most is None else resident_bytes(self.process.pid)
        if most is not None and held is not None and held > most and not self.connection.poll():
            self.close()
            raise Lost(f"it held {held / 1e9:.1f} GB of memory, more than the limit of {most / 1e9:g} GB")
        if time.monotonic() > self._deadline and not self.connection.poll():
            self.close()
            raise Lost("it did not start" if not self._ready else f"not done after {time_limit:g} seconds")

    def _epitaph(self) -> str:
        """How it ended."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it lives without a pipe
            self.process.kill()
            code = self.process.wait()
        self._put_away()
        if code == -signal.SIGKILL:
            return "its process was killed, perhaps for lack of memory"
        return f"its process ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"


def serve(connection: Connection, root: Path) -> None:
    """Carry out the orders that come over ``connection`` until the other side is gone."""
    orders: queue.Queue[Order] = queue.Queue()

    def listen() -> None:
        try:
            while True:
                orders.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)

    from fgq_bench.executors.workshop import Workshop

    workshop = Workshop(root)
    threading.Thread(target=listen, daemon=True).start()
    connection.send(("ready", None))
    while True:
        order = orders.get()
        try:
            answer = workshop.perform(order, lambda label, steps: connection.send(("advance", (label, steps))))
            connection.send(("done", answer))
        except OutputError as error:
            connection.send(("output", str(error)))
        except UserError as error:
            connection.send(("refused", str(error)))
        except Exception as error:
            connection.send(("refused", f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    set_up_output()
    with suppress(BrokenPipeError):  # the parent is gone, and nobody waits
        serve(Connection(int(sys.argv[1])), Path(sys.argv[2]))
