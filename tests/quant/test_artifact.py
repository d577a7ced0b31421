"""The artefact: exact bytes, faithful files, clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stored import header

from fgq_bench import api
from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import execute
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.size import count_bytes


def test_bytes_add_up_and_match_the_file(micro: VGGT, tmp_path: Path) -> None:
    quantized = api.quantize(micro, "rtn", "w3a16g16", "all")
    sizes = count_bytes(micro, quantized)
    parameters = sum(p.numel() for p in micro.parameters())
    codes = sum(linear.codes.numel() for linear in quantized.linears.values())
    assert sizes["total_bf16"] == 2 * parameters
    assert sizes["total"] == sum(sizes[part] for part in ("aa", "dino", "camera", "heads", "scales", "transforms"))
    assert sizes["total"] == 2 * (parameters - codes) + codes * 3 // 8 + sizes["scales"]
    assert sizes["scales"] == 4 * codes // 16
    path = tmp_path / "model.safetensors"
    quantized.save(path)
    bias = sum(4 * linear.bias.numel() for linear in quantized.linears.values() if linear.bias is not None)
    header = int.from_bytes(path.read_bytes()[:8], "little") + 8
    assert path.stat().st_size == header + codes * 3 // 8 + sizes["scales"] + bias


@pytest.mark.parametrize(
    ("scheme", "extra"), [("w4a8-astatic", 4), ("w4a8-aasym-astatic", 5), ("w4a8-astatic-atensor", 4)]
)
def test_static_scales_are_counted_and_kept(
    micro: VGGT, manifest: Path, tmp_path: Path, scheme: str, extra: int
) -> None:
    path = tmp_path / "m.safetensors"
    made = api.quantize(micro, "rtn", scheme, "all", calibration=str(manifest))
    made.save(path)
    loaded = QuantizedModel.load(path)
    scales = 0
    for name, linear in made.linears.items():
        again = loaded.linears[name]
        assert linear.act_scale is not None and again.act_scale is not None, name
        assert torch.equal(linear.act_scale, again.act_scale), name
        assert (linear.act_zero is None) == ("aasym" not in scheme), name
        if linear.act_zero is not None and again.act_zero is not None:
            assert torch.equal(linear.act_zero, again.act_zero), name
        assert again.scheme.activation_static, name
        scales += len(linear.act_scale)
    dynamic = api.quantize(micro, "rtn", "w4a8", "all")
    assert count_bytes(micro, loaded)["scales"] == count_bytes(micro, dynamic)["scales"] + extra * scales
    images = torch.rand(1, 3, 3, 84, 84)
    expected = made.install(micro, execute)(images).pose_enc
    assert torch.equal(loaded.install(micro, execute)(images).pose_enc, expected)
    assert not torch.equal(dynamic.install(micro, execute)(images).pose_enc, expected)


def test_install_shares_what_did_not_change(micro: VGGT) -> None:
    small = api.quantize(micro, "rtn", "w4a4").install(micro, execute)
    name = "depth_head.projects.0.weight"
    assert small.get_parameter(name).data_ptr() == micro.get_parameter(name).data_ptr()
    assert isinstance(micro.get_submodule("aggregator.frame_blocks.0.attn.qkv"), torch.nn.Linear)
    assert isinstance(small.get_submodule("aggregator.frame_blocks.0.attn.qkv"), QuantLinear)


def test_overrides_replace_a_tensor(micro: VGGT, tmp_path: Path) -> None:
    name = "aggregator.frame_blocks.0.norm1.weight"
    made = QuantizedModel({}, header(), {name: torch.full((48,), 2.0)})
    made.save(tmp_path / "o.safetensors")
    changed = QuantizedModel.load(tmp_path / "o.safetensors").install(micro, execute)
    assert changed.get_parameter(name).eq(2).all()
    assert not micro.get_parameter(name).eq(2).any()


def test_made_from_other_weights_is_refused(micro: VGGT, tiny: VGGT, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    api.quantize(micro, "rtn", "w4a4").save(path)
    with pytest.raises(UserError, match=r"m\.safetensors: made from model \w+, not from this one"):
        api.load_quantized(path, tiny)


def test_foreign_missing_and_truncated_files(micro: VGGT, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match=r"x\.safetensors: no such file"):
        QuantizedModel.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not a quantized model of this project"):
        QuantizedModel.load(path)
    api.quantize(micro, "rtn", "w4a4").save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        QuantizedModel.load(path)
