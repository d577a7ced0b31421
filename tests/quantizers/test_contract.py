"""What every method must keep, whatever it does inside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fgq_bench import api
from fgq_bench.cards import card_names
from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import execute
from fgq_bench.models.checkpoints import model_hash
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.grid import code_range

METHODS = ["fp", "rtn"]
SCHEMES = ["w8a8", "w4a4", "w4a16g16", "w3a16", "w2a16-wasym"]


def test_every_card_is_under_contract() -> None:
    assert card_names("methods") == sorted(METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_in_range_and_saved_model_predicts_the_same(
    micro: VGGT, tmp_path: Path, method: str, scheme: str
) -> None:
    before = model_hash(micro)
    quantized = api.quantize(micro, method, "w16a16" if method == "fp" else scheme, "all")
    for name, linear in quantized.linears.items():
        low, high = code_range(linear.scheme.weight_bits)
        assert linear.codes.dtype == torch.int8, name
        assert low <= int(linear.codes.min()), name
        assert int(linear.codes.max()) <= high, name
    path = tmp_path / "model.safetensors"
    quantized.save(path)
    images = torch.rand(1, 2, 3, 56, 56)
    first = quantized.install(micro, execute)(images)
    second = QuantizedModel.load(path).install(micro, execute)(images)
    assert torch.equal(first.pose_enc, second.pose_enc)
    assert torch.equal(first.points, second.points)
    assert model_hash(micro) == before


@pytest.mark.parametrize("method", METHODS)
def test_seeded_runs_are_identical(micro: VGGT, tmp_path: Path, method: str) -> None:
    for name in ("a", "b"):
        api.quantize(micro, method, "w16a16" if method == "fp" else "w4a4", seed=3).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_scope_decides_which_linears_change(micro: VGGT) -> None:
    counts = {
        scope: len(api.quantize(micro, "rtn", "w4a4", scope).linears) for scope in ("aa", "aa+camera", "aa+dino", "all")
    }
    assert counts == {"aa": 32, "aa+camera": 42, "aa+dino": 40, "all": 50}


def test_error_grows_as_bits_shrink(tiny: VGGT) -> None:
    images = torch.rand(1, 2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    truth = tiny(images).depth
    errors = []
    for scheme in ("w8a8", "w4a8", "w4a4", "w2a2"):
        depth = api.quantize(tiny, "rtn", scheme).install(tiny, execute)(images).depth
        errors.append(((depth - truth).abs() / truth).median().item())
    assert errors == sorted(errors)
    assert errors[0] < 0.01


def test_wrong_scope_and_option_are_named(micro: VGGT) -> None:
    with pytest.raises(UserError, match="scope 'everything' is unknown"):
        api.quantize(micro, "rtn", "w4a4", "everything")
    with pytest.raises(UserError, match="method rtn: option 'alpha'"):
        api.quantize(micro, "rtn", "w4a4", overrides={"alpha": 1})
