"""Options of executors: what is refused, in one line, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgq_bench.errors import UserError
from fgq_bench.executors.choice import Choice
from fgq_bench.executors.jobqueue import ClusterFile
from fgq_bench.executors.local import devices_for
from fgq_bench.executors.security import Tls, check_address, is_loopback

SLURM = 'system = "SLURM"\njobs = 2\n[options]\ncores = 1\n'


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    return Tls(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("spark"), "use one of local, dask"),
        (Choice(scheduler="tcp://127.0.0.1:1"), "--scheduler is for --executor dask"),
        (Choice(insecure=True), "--insecure is for --executor dask"),
        (Choice(tls={"--tls-ca": Path("x")}), "--tls-ca is for --executor dask"),
        (Choice("dask"), "either --scheduler tcp://HOST:PORT or --cluster FILE.toml"),
        (Choice("dask", scheduler="tcp://127.0.0.1:1", cluster=Path("x")), "either --scheduler"),
        (Choice("dask", workers=2, scheduler="tcp://127.0.0.1:1"), "--workers is for --executor local"),
        (Choice("dask", scheduler="tcp://10.1.2.3:8786"), "refused without TLS"),
        (Choice("dask", cluster=Path("no.toml")), "no.toml: No such file"),
        (
            Choice("dask", scheduler="tls://a:1", tls={"--tls-ca": Path("x"), "--tls-key": None}),
            "TLS needs --tls-ca, --tls-key; --tls-key is not given",
        ),
        (Choice("dask", scheduler="tls://a:1", tls={"--tls-ca": Path("no")}), "--tls-ca no: no such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_make_no_sense(choice: Choice, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        choice.check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "tcp://", "127.0.0.1:8786", "tcp://h", "http://h:1", "tcp://h:x", "tcp://[::"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(UserError, match="expected tcp://"):
        check_address(address, None, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_this_machine_needs_no_tls(host: str) -> None:
    check_address(f"tcp://{host}:8786", None, False)


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "[::]", "login1", "localhost.example.org"])
def test_other_machines_need_tls(host: str, tls: Tls) -> None:
    with pytest.raises(UserError, match="refused without TLS, whoever reaches it can run code"):
        check_address(f"tcp://{host}:8786", None, False)
    check_address(f"tcp://{host}:8786", None, True)
    check_address(f"tls://{host}:8786", tls, False)
    with pytest.raises(UserError, match="begins with tls://"):
        check_address(f"tcp://{host}:8786", tls, False)
    with pytest.raises(UserError, match="TLS needs --tls-ca"):
        check_address(f"tls://{host}:8786", None, True)
    assert not is_loopback(host.strip("[]"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('system = "SLURM"\n[options]\n', "key 'jobs': Field required"),
        ("jobs = 0\n" + SLURM.replace("jobs = 2\n", ""), "key 'jobs'"),
        (SLURM.replace("SLURM", "Slurm"), "key 'system'"),
        ("workers = 2\n" + SLURM, "key 'workers': Extra inputs"),
        ("jobs = ", "Invalid value"),
        ("jobs = " + "[" * 5000, "slurm.toml: nested too deeply"),
    ],
)
def test_cluster_files(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "slurm.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        ClusterFile.read(path)


def test_a_batch_system_needs_tls_and_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slurm.toml"
    path.write_text(SLURM)
    with pytest.raises(UserError, match="refused without TLS"):
        Choice("dask", cluster=path).check()
    monkeypatch.setattr("fgq_bench.executors.jobqueue.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install dask-jobqueue"):
        Choice("dask", cluster=path, insecure=True).check()


def test_dask_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgq_bench.executors.choice.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install .\.\[cluster\]"):
        Choice("dask", scheduler="tcp://127.0.0.1:1").check()


def test_a_device_for_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices_for("cpu", 3) == ["cpu"] * 3
    assert devices_for("cuda", 2) == ["cuda:0", "cuda:1"]
    with pytest.raises(UserError, match="there are 2 CUDA devices here"):
        devices_for("cuda", 3)
    with pytest.raises(UserError, match="give --device cuda, not cuda:1"):
        devices_for("cuda:1", 2)
