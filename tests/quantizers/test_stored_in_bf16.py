"""Every method on weights that are stored in bf16: they count as fp32 numbers, and the artefact predicts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fgq_bench import api
from fgq_bench.cards import Scalar, card_names
from fgq_bench.kernels.reference import execute
from fgq_bench.models.checkpoints import load_model, model_hash
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import find_linear
from fgq_bench.registry import find_method

pytestmark = pytest.mark.usefixtures("eager")
METHODS = [name for name in card_names("methods") if name != "fp"]
MORE = ["quarot:gptq", "fgq:block-bits", "quantvggt:code", "qvggt:sd"]  # presets that read weights in other places
SHORT: dict[str, Scalar] = {"epochs": 1, "probes": 1, "probe_clips": 1, "grid": 2}


def quantize(model: VGGT, method: str, scheme: str, manifest: Path) -> QuantizedModel:
    options = find_method(method).options
    short = {key: value for key, value in SHORT.items() if key in options}
    return api.quantize(model, method, scheme, "all", overrides=short, calibration=str(manifest))


@pytest.mark.parametrize("method", METHODS + MORE)
def test_saved_artefact_predicts_under_autocast(
    stored_in_bf16: VGGT, manifest: Path, tmp_path: Path, method: str
) -> None:
    before = model_hash(stored_in_bf16)
    made = quantize(stored_in_bf16, method, "w4a4-astatic" if method == "rtn" else "w4a4", manifest)
    made.save(tmp_path / "artefact.safetensors")
    again = load_model("vggt-1b", str(tmp_path / "micro.safetensors"))
    small = api.load_quantized(tmp_path / "artefact.safetensors", again)
    images = torch.rand(1, 2, 3, 84, 84)
    with evaluation_precision(small.device, "bfloat16"):
        out, same, own = small(images), made.install(stored_in_bf16, execute)(images), stored_in_bf16(images)
    assert out.depth.isfinite().all() and out.pose_enc.isfinite().all()
    assert torch.equal(out.points, same.points)
    assert not torch.equal(out.depth, own.depth)
    assert model_hash(stored_in_bf16) == before


def test_weights_are_rounded_as_fp32_numbers(micro: VGGT, stored_in_bf16: VGGT, manifest: Path) -> None:
    """What a quantizer makes of stored bf16 weights is what it makes of the same numbers stored in fp32."""
    for name, parameter in stored_in_bf16.named_parameters():
        micro.get_parameter(name).copy_(parameter)
    for method in ("rtn", "quarot"):
        wide, narrow = (quantize(model, method, "w4a4", manifest).linears for model in (micro, stored_in_bf16))
        for name, linear in narrow.items():
            for part in ("codes", "weight_scale", "bias"):
                assert torch.equal(getattr(linear, part), getattr(wide[name], part)), (method, name, part)


def test_a_linear_is_found_in_fp32(stored_in_bf16: VGGT) -> None:
    for name in ("attn.k", "mlp.fc1"):
        weight, bias = find_linear(stored_in_bf16, f"aggregator.frame_blocks.0.{name}")
        assert bias is not None and weight.dtype == bias.dtype == torch.float32
