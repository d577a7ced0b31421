"""Methods on π³: the same artefact as of any model, and one clear line from a method that needs a camera token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from double_precision import DoubleClips, stir_norms
from samples import MICRO_PI3

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.cards import Scalar
from fgq_bench.errors import UserError
from fgq_bench.kernels.placement import install
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import find_backend
from fgq_bench.models.checkpoints import model_hash
from fgq_bench.models.pi3 import Pi3
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quant.size import count_bytes
from fgq_bench.quantizers.base import Job
from fgq_bench.registry import find_method

pytestmark = pytest.mark.usefixtures("eager")
SHORT: dict[str, dict[str, Scalar]] = {
    "flatquant": {"epochs": 1},
    "fgq": {"epochs": 1, "probes": 1},
    "quantvggt": {"epochs": 1},
    "qvggt": {"grid": 2, "probe_clips": 1, "compensation": False},
}


@pytest.mark.parametrize("method", ["rtn", "gptq", "smoothquant", "awq", "quarot", *SHORT])
def test_the_artefact_round_trips(micro_pi3: Pi3, manifest: Path, tmp_path: Path, method: str) -> None:
    before, images = model_hash(micro_pi3), torch.rand(1, 2, 3, 56, 42)
    quantized = api.quantize(
        micro_pi3, method, "w4a4", "all", overrides=SHORT.get(method), calibration=str(manifest), folder=tmp_path
    )
    quantized.save(tmp_path / "model.safetensors")
    loaded = QuantizedModel.load(tmp_path / "model.safetensors")
    first, second = (each.install(micro_pi3, execute)(images) for each in (quantized, loaded))
    for name in ("pose_enc", "depth", "points"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert not torch.equal(first.pose_enc, micro_pi3(images).pose_enc)
    fast, _ = install(quantized, micro_pi3, find_backend("cpu"))
    assert torch.equal(fast(images).points, first.points), "CPU kernels compute what the reference computes"
    assert model_hash(micro_pi3) == before


@pytest.mark.parametrize("method", ["smoothquant", "quarot", "flatquant", "quantvggt"])
def test_before_rounding_the_model_is_unchanged(method: str, manifest: Path, tmp_path: Path) -> None:
    """At 16 bits transforms, folds and scales must cancel, in blocks without LayerScale too: to 1e-9 in float64."""
    torch.manual_seed(0)
    model = Pi3(replace(MICRO_PI3, layer_scale=0.5)).eval().requires_grad_(False).double()
    stir_norms(model)
    data = Calibration(model, "test", DoubleClips(manifest), "float64", tmp_path)
    overrides: dict[str, Scalar] = {"fold": "v"} if method == "smoothquant" else SHORT.get(method, {})
    job = Job(model, target_linears(model, "all"), Scheme(16, 16), 0, {}, data)
    changed = find_method(method, overrides).quantizer().quantize(job).install(model, execute)
    images = torch.rand(1, 2, 3, 56, 56, dtype=torch.double)
    for name in ("pose_enc", "depth", "points"):
        expected, found = getattr(model(images), name), getattr(changed(images), name)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_qvggt_says_what_the_model_lacks(micro_pi3: Pi3, manifest: Path) -> None:
    with pytest.raises(
        UserError, match=r"^qvggt: Pi3 has no camera tokens to compensate; preset no-token goes without$"
    ):
        api.quantize(micro_pi3, "qvggt", "w4a16", calibration=str(manifest))
    with pytest.raises(UserError, match="Pi3 has no camera token: its camera head cannot be shown any"):
        QuantizedModel({}, {}, {}, torch.ones(1, 96)).install(micro_pi3, execute)


def test_scope_and_bytes_follow_the_parts(micro_pi3: Pi3) -> None:
    counts = {scope: len(api.quantize(micro_pi3, "rtn", "w4a4", scope).linears) for scope in ("aa", "aa+camera", "all")}
    assert counts == {"aa": 16, "aa+camera": 26, "all": 34}
    sizes = count_bytes(micro_pi3, api.quantize(micro_pi3, "rtn", "w4a4", "aa"))
    parts = {"camera": ("camera_",), "dino": ("encoder.",), "heads": ("point_", "conf_")}
    for part, prefixes in parts.items():
        own = [each.numel() for name, each in micro_pi3.named_parameters() if name.startswith(prefixes)]
        assert sizes[part] == 2 * sum(own), part
    assert sizes["aa"] < 0.3 * 2 * sum(each.numel() for each in micro_pi3.decoder.parameters())
