"""Weights stored for bf16: predictions keep every bit, only what autocast casts is rounded, nothing else is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fgq_bench import api
from fgq_bench.calibration.cost import estimate
from fgq_bench.errors import UserError
from fgq_bench.models.checkpoints import MODELS, load_model, model_hash
from fgq_bench.models.precision import choose_precision, evaluation_precision, in_float32, stored_dtypes
from fgq_bench.models.vggt import VGGT
from fgq_bench.models.workload import linear_flops
from fgq_bench.quant.scopes import target_linears


def test_predictions_under_autocast_keep_every_bit(micro: VGGT, stored_in_bf16: VGGT) -> None:
    images = torch.rand(1, 3, 3, 84, 56)
    with evaluation_precision(micro.device, "bfloat16"):
        expected, found = micro(images), stored_in_bf16(images)
    for name in ("pose_enc", "depth", "depth_conf", "points", "points_conf"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_linears_and_patch_embedding_of_the_aggregator_are_bf16_and_all_else_fp32(stored_in_bf16: VGGT) -> None:
    for name, parameter in stored_in_bf16.named_parameters():
        module = stored_in_bf16.get_submodule(name.rpartition(".")[0])
        cast = name.startswith("aggregator.") and isinstance(module, nn.Linear | nn.Conv2d)
        assert parameter.dtype == (torch.bfloat16 if cast else torch.float32), name
    assert stored_in_bf16.aggregator.patch_embed.patch_embed.proj.weight.dtype == torch.bfloat16


def test_a_float32_model_is_stored_in_fp32(micro: VGGT) -> None:
    assert set(stored_dtypes(micro, "float32").values()) == {torch.float32}


def test_a_pt_file_gives_the_same_model(
    micro: VGGT, stored_in_bf16: VGGT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "vggt-1b", replace(MODELS["vggt-1b"], config=micro.config))
    torch.save({**micro.state_dict(), "track_head.some.weight": torch.ones(3)}, tmp_path / "model.pt")
    assert model_hash(load_model("vggt-1b", str(tmp_path / "model.pt"))) == model_hash(stored_in_bf16)


def test_hash_sees_the_stored_precision(micro: VGGT, stored_in_bf16: VGGT) -> None:
    assert model_hash(stored_in_bf16) != model_hash(micro)


def test_precision_is_that_of_the_weights_unless_asked_otherwise(micro: VGGT, stored_in_bf16: VGGT) -> None:
    assert choose_precision(micro, None) == "float32"
    assert choose_precision(micro, "bfloat16") == "bfloat16"
    assert choose_precision(stored_in_bf16, None) == "bfloat16"
    with pytest.raises(UserError, match="weights are stored in bf16, it computes in bfloat16 only"):
        choose_precision(stored_in_bf16, "float32")


def test_the_python_interface_needs_no_precision(stored_in_bf16: VGGT) -> None:
    scores = api.evaluate(stored_in_bf16, "procedural-objects", ["agreement"], limit=1)
    assert scores["agreement"]["rotation"]["value"] == 0


def test_in_float32_copies_only_what_is_narrower(micro: VGGT, stored_in_bf16: VGGT) -> None:
    assert in_float32(micro) is micro
    block = stored_in_bf16.aggregator.frame_blocks[0]
    wide = in_float32(block)
    assert {each.dtype for each in wide.parameters()} == {torch.float32}
    for name, parameter in block.named_parameters():
        assert torch.equal(wide.get_parameter(name), parameter.float()), name


def test_operations_are_counted_alike(micro: VGGT, stored_in_bf16: VGGT) -> None:
    assert linear_flops(stored_in_bf16, 2, (56, 56)) == linear_flops(micro, 2, (56, 56))


def test_the_dry_run_counts_the_bytes_as_stored(stored_in_bf16: VGGT) -> None:
    with torch.device("meta"):
        model, images = VGGT(stored_in_bf16.config), torch.zeros(1, 2, 3, 56, 56)
    cost = estimate(model, target_linears(model, "aa"), 1, images, "cpu", "bfloat16")
    assert cost.model_bytes == sum(each.nbytes for each in stored_in_bf16.parameters())
