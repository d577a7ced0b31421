"""Loading: every form of checkpoint, and one clear line for every wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from samples import GOLDEN

from fgq_bench.errors import UserError
from fgq_bench.models.checkpoints import load_model, model_hash, save_model
from fgq_bench.models.vggt import VGGT


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
    [{"dim": "x"}, {"heads": 0}, {"dim": -1}, {"depth": 10**9}, {"dpt_levels": None}],
    ids=lambda c: next(iter(c)),
)
def test_a_configuration_of_no_model_is_one_line(tiny: VGGT, tmp_path: Path, changes: dict[str, object]) -> None:
    config = json.dumps({**tiny.config.to_dict(), **changes})
    save_file(
        {"a": torch.zeros(1)} | {str(i): torch.zeros(1) for i in range(10)},
        tmp_path / "odd.safetensors",
        {"config": config},
    )
    with pytest.raises(UserError, match=r"odd\.safetensors: (its configuration describes no model|not a checkpoint)"):
        load_model("vggt-tiny", str(tmp_path / "odd.safetensors"))


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


def test_hub_failure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(*args: object) -> str:
        raise LocalEntryNotFoundError("no connection\nsecond line")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(
        UserError, match=r"^facebook/VGGT-1B: cannot be downloaded \(no connection\); give --checkpoint"
    ):
        load_model("vggt-1b")


def test_unknown_model_is_suggested() -> None:
    with pytest.raises(UserError, match=r"unknown model 'vggt-tny'; did you mean vggt-tiny"):
        load_model("vggt-tny")
