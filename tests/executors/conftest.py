"""A small sweep, and what it gives in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_sweep import Small

from fgq_bench.models.checkpoints import save_model
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.planning import LoadedModel, Request, plan
from fgq_bench.runner import Sweep, Workspace
from tests.stores import stored


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Workers take as many threads as the client, and there are several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    workspace, before = Workspace(folder / "out"), torch.get_num_threads()
    torch.set_num_threads(1)
    assert not Sweep(workspace).execute(runs).failed
    torch.set_num_threads(before)
    return Small(runs, stored(workspace.root))
