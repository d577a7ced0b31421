"""A small sweep, what it gives in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from fgq_bench.executors.base import Executor
from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.planning import LoadedModel, Request, Run, plan
from fgq_bench.runner import Outcome, Sweep, Workspace


def stored(workspace: Workspace) -> dict[str, bytes]:
    """Every result file with its bytes."""
    folder = workspace.store.root
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.json") if ".meta." not in p.name}


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


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, micro_config: VGGTConfig, manifest: Path) -> Small:
    """Computed in this process."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    save_model(VGGT(micro_config).eval(), folder / "micro.safetensors", torch.float32)
    request = Request(
        ["fp", "rtn", "smoothquant"], ["w4a4"], ["procedural-objects"], ["pose", "agreement"], limit=2,
        checkpoint=str(folder / "micro.safetensors"), calibration=str(manifest),
    )  # fmt: skip
    runs = plan(request, LoadedModel.load(request))
    workspace = Workspace(folder / "out")
    assert not Sweep(workspace).execute(runs).failed
    return Small(runs, stored(workspace))
