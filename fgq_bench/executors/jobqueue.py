"""A cluster on a batch system (SLURM, PBS, ...) through dask-jobqueue: one TOML file says what a job is."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from fgq_bench.errors import UserError
from fgq_bench.executors.security import Tls

if TYPE_CHECKING:
    from distributed import SpecCluster


class ClusterFile(pydantic.BaseModel):
    """What ``--cluster FILE`` says; README shows one for SLURM."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    system: Literal["SLURM", "PBS", "LSF", "SGE", "OAR", "HTCondor"]
    jobs: int = pydantic.Field(ge=1)  # that are asked for; a job that ends early is replaced
    options: dict[str, Any]  # of dask_jobqueue's <system>Cluster: cores, memory, walltime, queue, ...

    @classmethod
    def read(cls, path: Path) -> ClusterFile:
        """Read ``path``; raises UserError that names file and key."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:  # as of cards: not UTF-8, not TOML, nested too deeply
            raise UserError(f"--cluster {path}: {getattr(error, 'strerror', None) or error}") from None
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"--cluster {path}: key {'.'.join(map(str, first['loc']))!r}: {first['msg']}") from None


def check_cluster(path: Path, tls: Tls | None, insecure: bool) -> ClusterFile:
    """Read ``path``; raises UserError for a mistake in it, a missing package, or neither TLS nor ``insecure``."""
    asked = ClusterFile.read(path)
    if tls is None and not insecure:
        raise UserError(f"--cluster {path}: refused without TLS, its scheduler is open to the network: give --tls-ca, --tls-cert, --tls-key, or --insecure on a closed one")  # fmt: skip
    if find_spec("dask_jobqueue") is None:
        raise UserError("--cluster needs dask-jobqueue: pip install dask-jobqueue")
    return asked


def start_cluster(path: Path, tls: Tls | None, insecure: bool) -> SpecCluster:
    """A scheduler on this machine, and the jobs of ``path`` as its workers; they end when it is closed.

    Raises UserError: see ``check_cluster``; options that dask-jobqueue refuses; no batch system here.
    """
    asked = check_cluster(path, tls, insecure)
    import dask_jobqueue

    secure = {} if tls is None else {"security": tls.security(), "protocol": "tls://"}
    try:
        cluster: SpecCluster = getattr(dask_jobqueue, f"{asked.system}Cluster")(**asked.options, **secure)
        cluster.adapt(minimum_jobs=asked.jobs, maximum_jobs=asked.jobs)  # keeps them as many
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"--cluster {path}: {reason}") from None
    return cluster
