"""Fixtures shared by all tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import GOLDEN, MICRO, MICRO_PI3

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.calibration.sampling import sample_random
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.checkpoints import load_model, save_model
from fgq_bench.models.pi3 import Pi3
from fgq_bench.models.vggt import VGGT, VGGTConfig


def pytest_configure() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def golden_metrics() -> dict[str, Any]:
    """Outputs of the official metric code."""
    values: dict[str, Any] = json.loads((GOLDEN / "metrics.json").read_text())
    return values


@pytest.fixture(scope="session")
def tiny() -> VGGT:
    """The embedded model."""
    model = load_model("vggt-tiny")
    assert isinstance(model, VGGT)
    return model


@pytest.fixture(scope="session")
def micro_config() -> VGGTConfig:
    """Sizes of ``micro``."""
    return MICRO


@pytest.fixture
def micro() -> VGGT:
    """A random small model, different in every width from the embedded one."""
    torch.manual_seed(0)
    return VGGT(MICRO).eval().requires_grad_(False)


@pytest.fixture
def micro_pi3() -> Pi3:
    """A random small π³."""
    torch.manual_seed(0)
    return Pi3(MICRO_PI3).eval().requires_grad_(False)


@pytest.fixture
def stored_in_bf16(micro: VGGT, tmp_path: Path) -> VGGT:
    """``micro`` loaded as a model that is evaluated in bf16."""
    save_model(micro, tmp_path / "micro.safetensors", torch.float32)
    model = load_model("vggt-1b", str(tmp_path / "micro.safetensors"))
    assert isinstance(model, VGGT)
    return model


@pytest.fixture
def eager() -> Iterator[None]:
    """Nothing is compiled: a few steps are not worth it."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration manifest of 4 clips of 2 frames, from both procedural families."""
    pools = [open_dataset(load_card(DatasetCard, f"procedural-{family}-pool")) for family in ("objects", "rooms")]
    path = tmp_path_factory.mktemp("manifests") / "four.json"
    sample_random("four", pools, 4, 2, 0).save(path)
    return path


@pytest.fixture
def data(micro: VGGT, manifest: Path, tmp_path: Path) -> Calibration:
    """The random model on the test manifest."""
    return Calibration(micro, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", tmp_path)
