"""The wheel carries the cards and the weights; an editable install reads the cards where they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fgq_bench.cards import content_root

ROOT = Path(__file__).parents[1]
PARTS = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "fgq_bench",
    "methods",
    "datasets",
    "reports",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", "latest"))
        else:
            shutil.copy(path, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        wheel.extractall(out / "site")
    return out / "site"


def test_wheel_holds_package_weights_and_cards_only(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"fgq_bench"}
    assert (installed / "fgq_bench" / "kernels" / "cutlass" / "int8_gemm.cu").exists(), "compiled at first use"
    for model in ("vggt-tiny", "pi3-tiny"):
        assert (installed / f"fgq_bench/models/weights/{model}.safetensors").stat().st_size > 1_000_000
    for name in ("templates/page.html", "templates/macros.html", "static/page.css", "static/chart.js"):
        assert (installed / "fgq_bench/reporting/page" / name).is_file()
    for kind in ("methods", "datasets", "reports"):
        shipped = {path.name for path in (installed / "fgq_bench/_content" / kind).glob("*.toml")}
        assert shipped == {path.name for path in (ROOT / kind).glob("*.toml")}
    published = {path.name for path in (installed / "fgq_bench/_content/reports/published").glob("*.csv")}
    assert published == {path.name for path in (ROOT / "reports/published").glob("*.csv")}


def test_installed_wheel_reads_its_own_cards(installed: Path, tmp_path: Path) -> None:
    code = "from fgq_bench.cards import content_root, card_names; print(content_root()); print(card_names('methods'))"
    environment = {"PYTHONPATH": str(installed), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    root, names = done.stdout.splitlines()
    assert Path(root) == installed / "fgq_bench" / "_content"
    assert "rtn" in names


def test_editable_install_reads_the_repository() -> None:
    assert content_root() == ROOT
