"""From options of the command line to an executor."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fgq_bench.errors import UserError
from fgq_bench.executors.base import Executor, Patience
from fgq_bench.executors.jobqueue import check_cluster, start_cluster
from fgq_bench.executors.local import InProcess, Processes, devices_for
from fgq_bench.executors.security import Tls, check_address
from fgq_bench.runner import OnBadData, Workspace

if TYPE_CHECKING:
    from distributed import Client

CONNECT = 10.0  # s


@dataclass(frozen=True)
class Choice:
    """What was asked for; ``check`` says whether it makes sense."""

    executor: str = "local"
    workers: int = 1  # local
    scheduler: str | None = None  # dask: tcp://HOST:PORT or tls://HOST:PORT
    cluster: Path | None = None  # dask: file for dask-jobqueue
    patience: Patience = field(default_factory=Patience)
    shared: bool = False  # dask: workers see the output's folder
    tls: dict[str, Path | None] = field(default_factory=dict)  # option -> file
    insecure: bool = False

    @classmethod
    def of(
        cls, executor: str, workers: int, scheduler: str | None, cluster: Path | None, shared: bool, retries: int,
        time_limit: float | None, memory_limit: float | None, tls_ca: Path | None, tls_cert: Path | None,
        tls_key: Path | None, insecure: bool,
    ) -> Choice:  # fmt: skip
        """From options of the command line, memory in GB."""
        most = None if memory_limit is None else round(memory_limit * 1e9)
        tls = {"--tls-ca": tls_ca, "--tls-cert": tls_cert, "--tls-key": tls_key}
        return cls(executor, workers, scheduler, cluster, Patience(retries, time_limit, most), shared, tls, insecure)

    @property
    def elsewhere(self) -> bool:
        """Whether other machines compute."""
        return self.executor == "dask"

    def check(self) -> None:
        """Raise UserError for options that contradict each other, addresses that are refused, a missing package."""
        if self.executor not in ("local", "dask"):
            raise UserError(f"--executor {self.executor!r}: use one of local, dask")
        only = {
            "--scheduler": self.scheduler, "--cluster": self.cluster, "--shared": self.shared,
            "--insecure": self.insecure, **self.tls,
        }  # fmt: skip
        if not self.elsewhere:
            if foreign := [option for option, value in only.items() if value]:
                raise UserError(f"{foreign[0]} is for --executor dask")
            return
        if self.workers != 1:
            raise UserError("--workers is for --executor local: a Dask cluster brings its own")
        if (self.scheduler is None) == (self.cluster is None):
            raise UserError("--executor dask needs either --scheduler tcp://HOST:PORT or --cluster FILE.toml")
        tls = Tls.of(self.tls)
        if self.scheduler is not None:
            check_address(self.scheduler, tls, self.insecure)
        if find_spec("distributed") is None:
            raise UserError("--executor dask needs Dask: pip install '.[cluster]'")
        if self.cluster is not None:
            check_cluster(self.cluster, tls, self.insecure)

    @contextmanager
    def open(self, workspace: Workspace, on_bad_data: OnBadData, device: str) -> Iterator[Executor]:
        """The executor; what was started for it ends with the context. Raises UserError where nobody answers."""
        self.check()
        if not self.elsewhere:
            if self.workers == 1 and not self.patience.watches:
                yield InProcess(workspace, on_bad_data, self.patience)
            else:
                yield Processes(workspace, on_bad_data, self.patience, devices_for(device, self.workers))
            return
        from fgq_bench.executors.dask_cluster import DaskExecutor

        with ExitStack() as stack:
            tls, address = Tls.of(self.tls), self.scheduler
            if self.cluster is not None:
                address = stack.enter_context(start_cluster(self.cluster, tls, self.insecure)).scheduler_address
            assert address is not None, "checked"
            yield DaskExecutor(
                workspace, on_bad_data, self.patience, lambda: connect(address, tls), device, self.shared
            )


def connect(address: str, tls: Tls | None) -> Client:
    """A client of the scheduler at ``address``; raises UserError where none answers."""
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(
        logging.CRITICAL
    )  # a scheduler that is gone: handled, no traceback
    try:
        return Client(
            address, security=None if tls is None else tls.security(), timeout=CONNECT, set_as_default=False,
            name="fgq-bench",
        )  # fmt: skip
    except (OSError, TimeoutError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"--scheduler {address}: no scheduler answers: {reason}") from None
