"""No file makes a reader wait or fill the memory: pipes, devices, archives that unpack to more, documents without end."""

from __future__ import annotations

import gzip
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fgq_bench.bounded import read_bytes, read_gzip, read_text, read_zip
from fgq_bench.calibration.manifest import load_manifest
from fgq_bench.cards import MethodCard, content_root, parse_card
from fgq_bench.documents import VALUES, parse_json, parse_toml, read_json
from fgq_bench.errors import BadData, UserError
from fgq_bench.executors.bundle import Bundle
from fgq_bench.executors.jobqueue import ClusterFile
from fgq_bench.loaders.headers import picture_size
from fgq_bench.loaders.reading import read_array, read_picture
from fgq_bench.loaders.reading import read_json as read_index
from fgq_bench.loaders.reading import read_text as read_sequence
from fgq_bench.loaders.scannet import _tracked
from fgq_bench.models.checkpoint_files import open_checkpoint
from fgq_bench.quant.artifact import read_header
from fgq_bench.registry import parse_overrides
from fgq_bench.reporting.pace import Pace
from fgq_bench.reporting.published import load_published
from fgq_bench.results import Store
from fgq_bench.tensor_files import load_tensors

SECONDS = 20  # that nothing here may take


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """A reader that waits for ever fails instead."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


READERS: dict[str, Callable[[Path], object]] = {
    "card": lambda path: parse_card(MethodCard, path),
    "cluster": ClusterFile.read,
    "result": lambda path: Store(path.parent).read(path),
    "manifest": lambda path: load_manifest(str(path.rename(path.with_suffix(".json")))),
    "artefact": read_header,
    "checkpoint": open_checkpoint,
    "published numbers": lambda path: load_published(path.rename(path.parent / "fgq.csv").parent),
    "picture": read_picture,
    "picture's size": picture_size,
    "array": read_array,
    "text of a sequence": read_sequence,
    "index": read_index,
    "zipped index": lambda path: read_index(path.rename(path.with_suffix(".jgz"))),
}


@pytest.mark.parametrize("make", [pipe, device], ids=["pipe", "device"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path, reader: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / "file")
    with pytest.raises(UserError) as caught:
        READERS[reader](tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert "regular file" in str(caught.value) or reader == "manifest"  # which looks for a file first


@pytest.mark.parametrize("make", [pipe, device], ids=["pipe", "device"])
def test_notes_caches_and_poses_that_are_no_files_count_as_absent(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "model" / "data" / "task"
    folder.mkdir(parents=True)
    make(folder / "a.meta.json")
    assert not Pace.read(Store(tmp_path)).rates
    make(tmp_path / "cached.safetensors")
    assert load_tensors(tmp_path / "cached.safetensors", "key") is None
    with pytest.raises(OSError, match="not a regular file"):
        Bundle.pack(tmp_path)
    make(tmp_path / "0.txt")
    assert _tracked(tmp_path / "0.txt")  # listed all the same: its reader refuses it


def test_a_result_beside_a_pipe_is_read(tmp_path: Path) -> None:
    stored = next((content_root() / "reports/latest/results").rglob("*.json"))
    path = tmp_path / stored.name
    path.write_bytes(stored.read_bytes())
    pipe(path.with_suffix(".meta.json"))
    assert Store(tmp_path).read(path).key[:12] in path.name


def test_a_file_is_as_large_as_its_reader_expects(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(ValueError, match="5 bytes; at most 4 are read"):
        read_text(path, 4)
    os.truncate(path, 2**40)  # sparse
    for reader in ("picture", "array", "index", "text of a sequence", "card", "cluster", "result"):
        with pytest.raises(UserError, match="1099511627776 bytes; at most"):
            READERS[reader](path)


def test_archives_unpack_to_what_their_reader_expects(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(bytes(10**6)))
    assert len(read_gzip(path, 10**6)) == 10**6
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        read_gzip(path, 10**4)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(10**6))
    assert read_zip(path, 10**6) == {"a": bytes(10**6)}
    with pytest.raises(ValueError, match="unpacks to 1000000 bytes; at most 10000 are read"):
        read_zip(path, 10**4)
    for damage in (path.read_bytes()[:-30], path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"), b""):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=r"zip|central directory"):
            read_zip(path, 10**6)


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    whole, packed = tmp_path / "whole.pt", tmp_path / "packed.pt"
    torch.save({"weight": torch.zeros(10**6)}, whole)

    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    assert packed.stat().st_size < 10**5
    with pytest.raises(UserError, match=r"packed\.pt: refused, .* in it is compressed"):
        open_checkpoint(packed)


def test_a_long_dotted_key_takes_no_time(tmp_path: Path) -> None:
    key = ".".join(["a"] * 20_000)
    for text in (f"{key} = 1", f"[{key}]", f"x = {{{key} = 1}}", f"x = 1\n{'.'.join(['a', chr(34) * 2] * 99)} = 1"):
        path = tmp_path / "file.toml"
        path.write_text(text)
        for read in (lambda: parse_card(MethodCard, path), lambda: ClusterFile.read(path)):  # noqa: B023
            with pytest.raises(UserError, match=r"file\.toml: .*line \d: more than 64 dots"):
                read()
    with pytest.raises(UserError, match=r"--set .*more than 64 dots"):
        parse_overrides([f"alpha={{{key} = 1}}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 10**5, "nested too deeply"),
        ("x = " + "{a = " * 10**4, "nested too deeply"),
        ("x = 1" + "0" * 30, "10000000000000000000... is beyond the range of whole numbers, 64 bits"),
        ("x = [{y = -1" + "0" * 30 + "}]", "-1000000000000000000... is beyond the range"),
        ("x = 1" + "0" * 5000, "digits"),
        ("x = 1\n" + "#" * 2**18, "262150 characters; at most 262144 are read"),
    ],
    ids=range(6),
)
def test_toml_has_its_limits(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_toml(text)


@pytest.mark.parametrize("value", ["1" + "0" * 30, "1" + "0" * 5000, "[" * 10**5], ids=["31", "5001", "nested"])
def test_options_have_the_limits_of_toml(value: str) -> None:
    with pytest.raises(UserError, match=r"^--set 'alpha=[^\n]{,60}: [^\n]*(range|digits|deeply)"):
        parse_overrides([f"alpha={value}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[NaN]", "NaN is not a number"),
        ("[-Infinity]", "-Infinity is not a number"),
        ("[1e400]", "1e400 is beyond the range of numbers"),
        (f"[1{'0' * 400}]", "10000000000000000000... is beyond the range of whole numbers, 64 bits"),
        ("[18446744073709551616]", "beyond the range of whole numbers"),
        (r'["\ud800"]', "half of a surrogate pair"),
        (r'{"\uDFFF": 1}', "half of a surrogate pair"),
        ("[" * 10**5, "nested too deeply"),
        ("[" + "0," * VALUES + "0]", f"more than {VALUES} values"),
        ("[", "EOF while parsing a list"),
    ],
    ids=range(10),
)
def test_json_has_its_limits(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)
    path = tmp_path / "file.json"
    path.write_text(text)
    for read, name in ((lambda: Store(tmp_path).read(path), "result"), (lambda: load_manifest(str(path)), "manifest")):
        with pytest.raises(UserError, match=rf"file\.json: not a .*{name}.*{message}"):
            read()


def test_json_of_usual_values_is_what_it_was(tmp_path: Path) -> None:
    values: Any = {"a": [1, -1.5e-3, True, None, "ü😀", r"\ud800"], "b": {"c": 2**64 - 1}}
    assert parse_json(json.dumps(values)) == values
    (tmp_path / "file").write_text(json.dumps(values, ensure_ascii=False))
    assert read_json(tmp_path / "file") == values


@pytest.mark.parametrize("shape", ["(10**9,)", "(1000000000, 1000000000)", "(-1,)", "((1,),)", "(" * 9000])
def test_an_array_claims_no_more_than_it_holds(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(BadData, match=r"a\.npy: not a readable array \("):
        read_array(path)


def test_pictures_and_arrays_are_read_as_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels, values = rng.integers(0, 255, (9, 7, 3), np.uint8), rng.standard_normal((3, 4))
    for kind in ("png", "webp"):
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}", lossless=True)
        assert picture_size(tmp_path / f"a.{kind}") == (7, 9)
        np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / f"a.{kind}")), pixels)
    for array in (values, np.asfortranarray(values.T), np.float64(3), values[:0], values > 0):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array, strict=True)
