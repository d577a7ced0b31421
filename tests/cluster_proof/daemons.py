"""A scheduler and workers on the loopback, and someone who kills them at random moments."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from distributed import Client

from fgq_bench.errors import UserError
from fgq_bench.executors.choice import connect


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def patient(address: str, seconds: float = 120) -> Client:
    """A client of the scheduler at ``address``, which may take a while to start up."""
    end = time.monotonic() + seconds
    while True:
        try:
            return connect(address, None)
        except UserError:
            if time.monotonic() > end:
                raise


def start_scheduler(port: int, *options: str) -> subprocess.Popen[bytes]:
    """``dask scheduler`` on the loopback."""
    return _dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", *options)


def start_worker(address: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """``dask worker`` of the scheduler at ``address``; ``folder`` is its own."""
    return _dask(
        "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1",
        "--local-directory", str(folder), *options,
    )  # fmt: skip


class Cluster:
    """``dask scheduler`` and ``workers`` times ``dask worker``; a dead worker is replaced, as a batch system would."""

    def __init__(self, workers: int, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = start_scheduler(self.port)
        self.workers = [self._start_worker() for _ in range(workers)]
        self.lock = threading.Lock()

    def restart_scheduler(self) -> None:
        """SIGKILL it; its successor knows nothing."""
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = start_scheduler(self.port)

    def kill_worker(self, index: int) -> None:
        """SIGKILL one, and start another."""
        self.workers[index].kill()
        self.workers[index].wait()
        self.workers[index] = self._start_worker()

    def tend(self) -> None:
        """Replace workers that ended by themselves (they do when they lose their scheduler)."""
        with self.lock:
            self.workers = [each if each.poll() is None else self._start_worker() for each in self.workers]

    def close(self) -> None:
        """End all of it."""
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return start_worker(self.address, self.folder)


def _dask(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dask", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Killer(threading.Thread):
    """Kills a random worker every ``pause`` seconds (uniform), ``kills`` times, and the scheduler once half-way."""

    def __init__(self, cluster: Cluster, kills: int, pause: tuple[float, float], seed: int) -> None:
        super().__init__(daemon=True)
        self.cluster, self.left, self.pause, self.random = cluster, kills, pause, random.Random(seed)
        self.restart_at, self.restarts, self.killed, self.over = kills // 2, 0, 0, threading.Event()

    def run(self) -> None:
        """Until there is nobody left to kill, or ``over``."""
        while not self.over.wait(self.random.uniform(*self.pause)):
            self.cluster.tend()
            if self.left == 0:
                continue
            with self.cluster.lock:
                self.cluster.kill_worker(self.random.randrange(len(self.cluster.workers)))
                self.killed, self.left = self.killed + 1, self.left - 1
                if self.left == self.restart_at and not self.restarts:
                    self.cluster.restart_scheduler()
                    self.restarts += 1

    def counts(self) -> dict[str, Any]:
        """What it did."""
        return {"kills": self.killed, "scheduler_restarts": self.restarts}
