"""A function in a process of its own: nothing loaded, cached or allocated before takes part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, ParamSpec, TypeVar

from fgq_bench.scratch import clear_temporary
from fgq_bench.terminal import set_up_output

P = ParamSpec("P")
T = TypeVar("T")
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
PATIENCE = 10.0  # s, for a process that is told to end to put things away


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has said otherwise; call it before torch is imported.

    By default they spin: with other work on the cores every small product then waits for threads that are not running.
    """
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)


def start_python(module: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Connection]:
    """A new Python that runs ``module``, whose first argument is the number of the pipe's far end; this side's end.

    It imports what this process would and has a process group of its own: ^C is for this process.
    """
    near, far = Pipe()
    places = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    command = [sys.executable, *_flags(), "-P", "-m", module, str(far.fileno()), *arguments]
    process = subprocess.Popen(
        command, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL, stdout=2, process_group=0, env=WAITING | dict(os.environ) | places
    )  # fmt: skip
    far.close()
    return process, near


def _flags() -> list[str]:
    """``-O`` as often as this process was given it."""
    return ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []


def in_fresh_process(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """``function`` in a new Python that has nothing but its arguments; raises what it raises.

    Raises RuntimeError where the process ends without an answer.
    """
    process, connection = start_python("fgq_bench.processes")
    try:
        connection.send((function, arguments, options))
        answer, error = connection.recv()
        process.kill()  # it has nothing left to do
    except (EOFError, OSError):
        raise RuntimeError("its process died, perhaps for lack of memory") from None
    finally:
        _end(process)
        connection.close()
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End ``process``, which may remove what it has made first."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_in_order(number: int, frame: object) -> None:
    """Handler of SIGTERM: leave every context on the way out, so that nothing is left behind; once is enough."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _end_with_parent(connection: Connection) -> None:
    """End this process when the one that started it is gone: in order, or at once where that takes too long."""
    with suppress(EOFError, OSError):
        connection.poll(None)
        connection.recv()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(PATIENCE)
    os._exit(1)


def _answer(connection: Connection) -> None:
    """Call the function that comes over ``connection`` and send back its value or its error."""
    signal.signal(signal.SIGTERM, end_in_order)
    function, arguments, options = connection.recv()
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    answer: Any = None
    failure: Exception | None = None
    try:
        answer = function(*arguments, **options)
    except SystemExit:  # the parent is gone, what it kept for this process may be here still
        clear_temporary()
        raise
    except Exception as error:
        failure = error
    try:
        connection.send((answer, failure))
    except Exception as error:  # what cannot be sent is said
        connection.send((None, RuntimeError(f"{type(failure or error).__name__}: {failure or error}")))


if __name__ == "__main__":
    set_up_output()
    _answer(Connection(int(sys.argv[1])))
