"""Runners on one store that share a host name and not their process numbers, as containers do; needs root."""

from __future__ import annotations

import ctypes
import os
import random
import signal

from tests.faults.interruptions import runners
from tests.faults.outcome import Row
from tests.faults.sweep import Sweep

CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1


def namespaces(sweep: Sweep, rounds: int, rng: random.Random) -> Row:
    """Three runners, each in a PID namespace of its own; in every other round one of them is killed."""
    if os.geteuid() != 0:
        return Row("3 runners in PID namespaces", "no clash", note="not tried: only root can make one")
    row = runners(sweep, 3, rounds, rng, prepare=own_process_numbers)
    row.fault = "3 runners in PID namespaces"
    return row


def own_process_numbers() -> None:
    """Go on in a new PID namespace, under a small number that means another process, or none, everywhere else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "unshare")
    _go_on_in_a_child(libc)  # process 1: it must live as long as the namespace
    for _ in range(random.randrange(1, 30)):  # numbers that are used up
        if (used := os.fork()) == 0:
            os._exit(0)
        os.waitpid(used, 0)
    _go_on_in_a_child(libc)


def _go_on_in_a_child(libc: ctypes.CDLL) -> None:
    """Fork: the parent ends as the child ends, the child returns, and is killed when the parent is."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
