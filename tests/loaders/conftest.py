"""Every test of a data set that spoils files gets a copy of its module's pristine miniature."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "copy"))
