"""Loading: every form of checkpoint, and one clear line for every wrong one."""

from __future__ import annotations

import argparse
import json
import os
import re
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from samples import GOLDEN
from torch import Tensor

from fgq_bench.errors import LONGEST, UserError
from fgq_bench.models.checkpoint_files import check_entries, open_checkpoint
from fgq_bench.models.checkpoint_sources import resolve
from fgq_bench.models.checkpoints import load_model, model_hash, save_model
from fgq_bench.models.pickled import LARGEST_PICKLE
from fgq_bench.models.vggt import VGGT, VGGTConfig


def test_round_trip_as_file_and_directory(micro: VGGT, tmp_path: Path) -> None:
    save_model(micro, tmp_path / "model.safetensors", torch.float32)
    for source in (tmp_path / "model.safetensors", tmp_path):
        assert model_hash(load_model("vggt-tiny", str(source))) == model_hash(micro)


def test_pt_with_a_track_head_is_read_and_the_head_ignored(tiny: VGGT, tmp_path: Path) -> None:
    state = {**tiny.state_dict(), "track_head.some.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "model.pt")
    assert model_hash(load_model("vggt-tiny", str(tmp_path / "model.pt"))) == model_hash(tiny)


def test_hash_sees_every_weight(micro: VGGT) -> None:
    before = model_hash(micro)
    micro.camera_head.pose_branch.fc2.bias[0] += 1e-3
    assert model_hash(micro) != before


def _write_truncated(path: Path, tiny: VGGT) -> None:
    save_model(tiny, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_truncated_safetensors(tiny: VGGT, tmp_path: Path) -> None:
    _write_truncated(tmp_path / "half.safetensors", tiny)
    with pytest.raises(UserError, match=r"half\.safetensors: not a readable checkpoint, perhaps truncated"):
        load_model("vggt-tiny", str(tmp_path / "half.safetensors"))


def test_truncated_pt(tiny: VGGT, tmp_path: Path) -> None:
    path = tmp_path / "half.pt"
    torch.save(tiny.state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"half\.pt: not a readable checkpoint"):
        load_model("vggt-tiny", str(path))


def test_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.pt"
    torch.save({"weights": Path("x")}, path)
    with pytest.raises(UserError, match=r"code\.pt: refused, it holds more than tensors"):
        load_model("vggt-tiny", str(path))


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": "x"},
        {"heads": 0},
        {"dim": -1},
        {"depth": 10**9},
        {"depth": 10**4},
        {"dpt_levels": None},
        {"dpt_levels": [1] * 10**6},
        {str(i): i for i in range(10**5)},
        {"dpt_levels": [0, 1, 2, 4]},
        {"heads": 7},
        {"vit_heads": 5},
        {"camera_heads": 7},
        {"dpt_features": 1},
        {"dpt_channels": [2] * 4},
        {"layer_scale": 1e999},
        {"patch": 0},
        {"image_size": 10**9},
        {"dim": True},
        {"dim": 10**400},
    ],
    ids=lambda c: f"{c}"[:30],
)
def test_a_configuration_of_no_model_is_one_line(tiny: VGGT, tmp_path: Path, changes: dict[str, object]) -> None:
    config = json.dumps({**tiny.config.to_dict(), **changes})
    save_file(
        {"a": torch.zeros(1)} | {str(i): torch.zeros(1) for i in range(10)},
        tmp_path / "odd.safetensors",
        {"config": config},
    )
    with pytest.raises(UserError, match=r"odd\.safetensors: .*its configuration") as caught:
        load_model("vggt-tiny", str(tmp_path / "odd.safetensors"))
    assert str(caught.value).isprintable()


def test_not_a_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "list.pt"
    torch.save([1, 2], path)
    with pytest.raises(UserError, match=r"list\.pt: not a state dict of tensors"):
        load_model("vggt-tiny", str(path))


def test_foreign_checkpoint_names_the_first_differences(tmp_path: Path) -> None:
    save_file({"some.weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match=r"keys missing \(first: .*\); 1 unknown keys \(first: some\.weight\)"):
        load_model("vggt-tiny", str(tmp_path / "foreign.safetensors"))


def test_other_sizes_are_named_as_differing_shapes() -> None:
    with pytest.raises(UserError, match="shapes differ"):
        load_model("vggt-tiny", str(GOLDEN / "vggt_tiny_weights.safetensors"))


@pytest.mark.parametrize("source", ["no/such/file.safetensors", "nowhere.pt", "plainword"])
def test_missing_file(source: str) -> None:
    with pytest.raises(UserError, match="no such file, directory or hub id"):
        load_model("vggt-tiny", source)


def test_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model\.safetensors or model\.pt in this directory"):
        load_model("vggt-tiny", str(tmp_path))


def hub_error(kind: str, message: str) -> Exception:
    """What the hub's client raises, of whichever HTTP library it is made of."""
    from huggingface_hub import errors

    if kind == "cut":
        connection: type[Exception] = errors.HfHubHTTPError.__bases__[0]
        cut: Exception = type("ReadTimeout", (connection,), {})(message)
        return cut
    error: Exception = getattr(errors, kind).__new__(getattr(errors, kind))
    error.args = (message,)
    return error


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        ("LocalEntryNotFoundError", "no connection\nsecond line", "no connection second line"),
        (
            "GatedRepoError",
            "401 Client Error.\n\nCannot access gated repo.\nAccess is restricted; ask its authors.",
            "401 Client Error. Cannot access gated repo. Access is restricted; ask its authors.",
        ),
        ("cut", "The read operation timed out", "The read operation timed out"),
        ("cut", "", "ReadTimeout"),
        ("HFValidationError", "Repo id must use alphanumeric chars", "Repo id must use alphanumeric chars"),
    ],
)
def test_hub_failure_is_one_line_with_all_of_its_reason(
    monkeypatch: pytest.MonkeyPatch, kind: str, message: str, reason: str
) -> None:
    import huggingface_hub

    def refuse(*args: object) -> str:
        raise hub_error(kind, message)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(UserError) as caught:
        load_model("vggt-1b")
    expected = f"facebook/VGGT-1B: cannot be downloaded ({reason}); give --checkpoint FILE, there is no such file here"
    assert str(caught.value) == expected


PATHS = [
    "~/weights", "~nobody/vggt", "weights/", "my weights/vggt", "./vggt", "../vggt", ".cache/vggt", "/weights/vggt",
    "weights/vggt.pth", "weights/vggt.SAFETENSORS", "a/b/c", "weights\\vggt", "OWNER/", "/", "a/b\n", "π/vggt", "",
]  # fmt: skip


@pytest.mark.parametrize("source", PATHS)
def test_what_looks_like_a_path_is_never_asked_of_the_hub(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: pytest.fail("asked"))
    with pytest.raises(UserError, match=r"no (such file|regular file), directory or hub id|in this directory"):
        load_model("vggt-tiny", source)


@pytest.mark.parametrize("source", ["~/weights", "weights/", "my weights/vggt", "weights/vggt.pth"])
def test_a_path_is_found_however_it_is_written(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = Path(source.replace("~", "."))
    path = path if path.suffix else path / "model.pt"
    path.parent.mkdir(parents=True)
    path.touch()
    assert resolve(source).samefile(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt: no regular file"):
        load_model("vggt-tiny", str(tmp_path / "model.pt"))


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2]
)
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_only_floating_point_weights_are_taken(micro: VGGT, tmp_path: Path, dtype: torch.dtype, ending: str) -> None:
    path, state = tmp_path / f"codes.{ending}", micro.state_dict()
    name = "aggregator.frame_blocks.0.mlp.fc1.weight"
    state[name] = state[name].to(dtype)
    with pytest.raises(UserError, match=rf"codes\.{ending}: 1 weights are stored as \w+ \(first: {re.escape(name)}\)"):
        save_and_load(state, path, micro)


def save_and_load(state: dict[str, Tensor], path: Path, model: VGGT) -> str:
    """Hash of the model made of ``state``, saved at ``path``; a .pt file does not state sizes."""
    if path.suffix == ".safetensors":
        save_file(state, path, {"config": json.dumps(model.config.to_dict())})
        return model_hash(load_model("vggt-tiny", str(path)))
    torch.save(state, path)
    entries, _ = open_checkpoint(path)
    check_entries(path, entries, model.state_dict())
    return ""


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_floating_point_precision_is_taken(micro: VGGT, tmp_path: Path, dtype: torch.dtype) -> None:
    state = {key: value.to(dtype) for key, value in micro.state_dict().items()}
    single = {key: value.float() for key, value in state.items()}
    found = save_and_load(state, tmp_path / "a.safetensors", micro)
    assert found == save_and_load(single, tmp_path / "b.safetensors", micro)


def wrapped(state: dict[str, Tensor], how: str) -> object:
    """A state dict as training scripts store it."""
    if how in ("module.", "_orig_mod.", "module._orig_mod.", "model."):
        return {how + key: value for key, value in state.items()}
    if how == "lightning":
        return {"state_dict": {f"model.{key}": value for key, value in state.items()}, "epoch": 3, "optimizer": [{}]}
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    return {how: state, "optimizer": optimizer, "epoch": 3, "args": None}


@pytest.mark.parametrize(
    "how", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "model", "state_dict", "ema", "lightning"]
)
def test_what_is_wrapped_unambiguously_is_unwrapped(micro: VGGT, tmp_path: Path, how: str) -> None:
    path, state = tmp_path / "model.pt", micro.state_dict()
    torch.save(wrapped(state, how), path)
    entries, _ = open_checkpoint(path)
    check_entries(path, entries, state)
    assert all(torch.equal(entry.read(), state[key]) for key, entry in entries.items())


def test_prefixes_are_taken_off_safetensors_too(micro: VGGT, tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in micro.state_dict().items()}
    assert save_and_load(state, tmp_path / "a.safetensors", micro) == model_hash(micro)


TWO = {"model": {"a": torch.zeros(1)}, "ema": {"a": torch.zeros(1), "b": torch.zeros(1)}, "epoch": 3}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TWO, "it holds model (1 tensors), ema (2 tensors), epoch (int); save the one that is meant by itself"),
        ({None: torch.zeros(1)}, "it holds a key of type NoneType (Tensor)"),
        ({"a": torch.zeros(1), "epoch": 3}, "it holds a (Tensor), epoch (int)"),
        ({}, "it holds 0 entries"),
        (torch.zeros(1), "it holds Tensor"),
        ({str(i): i for i in range(10**4)}, "it holds 0 (int), 1 (int), 2 (int), 3 (int), 4 (int) and 9995 more"),
        ({"x" * 10**6 + "\n": 1}, f"it holds {'x' * 60} (int)"),
    ],
    ids=["two", "None", "epoch", "empty", "tensor", "many", "long"],
)
def test_what_is_ambiguous_or_none_is_named(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        load_model("vggt-tiny", str(path))
    assert str(caught.value) == f"{path}: not a state dict of tensors: {says}"


def foreign_tensors() -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    return {
        "_rebuild_nested_tensor": nested,
        "_rebuild_sparse_tensor": torch.eye(3).to_sparse(),
        "_rebuild_meta_tensor_no_storage": torch.zeros(3, device="meta"),
        "bytearray": bytearray(10),
        "argparse.Namespace": argparse.Namespace(lr=1),
    }


@pytest.mark.parametrize("name", list(foreign_tensors()))
def test_what_is_no_plain_tensor_is_named_before_it_is_made(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": foreign_tensors()[name]}, path)
    with pytest.raises(UserError, match=rf"x\.pt: refused, it holds more than tensors \(.*{re.escape(name)}"):
        load_model("vggt-tiny", str(path))


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "a Git LFS pointer"),
    ],
    ids=["empty", "html", "lfs"],
)
def test_what_a_failed_download_leaves_is_named(tmp_path: Path, ending: str, content: bytes, says: str) -> None:
    path = tmp_path / f"model.{ending}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"model\.{ending}: .*{says}") as caught:
        load_model("vggt-tiny", str(path))
    assert "mmap" not in str(caught.value)


def test_the_format_before_torch_1_6_is_named(tiny: VGGT, tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(tiny.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"old\.pt: written in the format before torch 1\.6; load it and"):
        load_model("vggt-tiny", str(path))


@pytest.mark.parametrize("part", ["data.pkl", "data/0", "version"])
def test_a_compressed_archive_is_refused_unread(tmp_path: Path, part: str) -> None:
    """8 MB of it may be 8 GB of tensors, or of a pickle."""
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pt")
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(path, "w") as bomb:
        for each in plain.namelist():
            packed = zipfile.ZIP_DEFLATED if each.endswith(f"/{part}") else zipfile.ZIP_STORED
            bomb.writestr(each, plain.read(each), packed)
    with pytest.raises(UserError, match=rf"bomb\.pt: refused, plain/{part} in it is compressed"):
        load_model("vggt-tiny", str(path))


def test_a_pickle_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    torch.save({"a": "x" * (LARGEST_PICKLE + 1)}, tmp_path / "x.pt")
    with pytest.raises(
        UserError, match=r"x\.pt: refused, beside its tensors it holds too much \(8 MB, the limit is 8 MB"
    ):
        load_model("vggt-tiny", str(tmp_path / "x.pt"))


def test_a_zip_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match=r"x\.pt: a zip archive, but not one of torch\.save"):
        load_model("vggt-tiny", str(tmp_path / "x.pt"))


def test_an_empty_checkpoint_is_not_the_models_own() -> None:
    with pytest.raises(UserError, match="no regular file, directory or hub id"):
        load_model("vggt-tiny", "")


def test_too_little_memory_is_not_the_checkpoints_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("unable to mmap 16 bytes from file <x>: Cannot allocate memory (12)")

    monkeypatch.setattr("fgq_bench.models.checkpoint_files.safe_open", refuse)
    with pytest.raises(UserError, match=r"vggt-tiny\.safetensors: too little memory to read it \(unable to mmap"):
        load_model("vggt-tiny")


def test_names_in_messages_are_one_printable_line(tmp_path: Path) -> None:
    save_file({"a\n\x1b[31m" + "x" * 10**6: torch.zeros(2)}, tmp_path / "odd.safetensors")
    with pytest.raises(UserError) as caught:
        load_model("vggt-tiny", str(tmp_path / "odd.safetensors"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= LONGEST


def test_a_cache_that_cannot_be_written_is_not_the_checkpoints_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: VGGTConfig) -> VGGT:
        raise FileNotFoundError(2, "No such file or directory", "/proc/none")

    monkeypatch.setattr(VGGTConfig, "build", refuse)
    with pytest.raises(FileNotFoundError, match="/proc/none"):
        load_model("vggt-tiny")


def test_unknown_model_is_suggested() -> None:
    with pytest.raises(UserError, match=r"unknown model 'vggt-tny'; did you mean vggt-tiny"):
        load_model("vggt-tny")
