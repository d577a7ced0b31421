"""What every method must keep, whatever it does inside: each card, alone and with each of its presets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from double_precision import DoubleClips, stir_norms

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.cards import MethodCard, Scalar, card_names, load_card
from fgq_bench.errors import UserError
from fgq_bench.kernels.placement import install
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import find_backend
from fgq_bench.models.checkpoints import model_hash
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.grid import code_range
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quantizers.base import Job
from fgq_bench.registry import find_method

CARDS = {name: load_card(MethodCard, name) for name in card_names("methods")}
OTHER_MODELS = ["qvggt:vggt-1b"]  # presets that hold one model's names
METHODS = [name + (f":{preset}" if preset else "") for name, card in CARDS.items() for preset in ("", *card.presets)]
METHODS = [method for method in METHODS if method not in OTHER_MODELS]
QUANTIZING = [method for method in METHODS if method != "fp"]
SCHEMES = ["w8a8", "w4a4", "w4a4-astatic", "w4a16g12", "w3a16", "w2a16-wasym"]


pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What calibrated methods share, for the tests of this file."""
    return tmp_path_factory.mktemp("calibration")


def short(method: str) -> dict[str, Scalar]:
    """Overrides that keep a learned method's training to one epoch, and a search to two candidates on one clip."""
    options = find_method(method).options
    small: dict[str, Scalar] = {"epochs": 1, "probes": 1, "probe_clips": 1}
    small |= {"grid": 2} if "probe_clips" in options else {}
    return {key: value for key, value in small.items() if key in options}


def quantize(model: VGGT, method: str, scheme: str, manifest: Path, cache: Path, **more: Any) -> QuantizedModel:
    scheme = "w16a16" if method == "fp" else scheme
    return api.quantize(model, method, scheme, overrides=short(method), calibration=str(manifest), folder=cache, **more)


def suits(method: str, scheme: str) -> bool:
    """``block-bits`` exists only where a lower bit-width can pay for a higher one."""
    return not method.endswith("block-bits") or scheme.startswith("w4a4")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_in_range_and_saved_model_predicts_the_same(
    micro: VGGT, manifest: Path, cache: Path, tmp_path: Path, method: str, scheme: str
) -> None:
    if not suits(method, scheme):
        pytest.skip("not payable at this scheme")
    before = model_hash(micro)
    quantized = quantize(micro, method, scheme, manifest, cache, scope="all")
    for name, linear in quantized.linears.items():
        low, high = code_range(linear.scheme.weight_bits)
        assert linear.codes.dtype == torch.int8, name
        assert low <= int(linear.codes.min()), name
        assert int(linear.codes.max()) <= high, name
    path = tmp_path / "model.safetensors"
    quantized.save(path)
    images = torch.rand(1, 2, 3, 84, 84)
    first = quantized.install(micro, execute)(images)
    second = QuantizedModel.load(path).install(micro, execute)(images)
    assert torch.equal(first.pose_enc, second.pose_enc)
    assert torch.equal(first.points, second.points)
    fast, _ = install(quantized, micro, find_backend("cpu"))
    assert torch.equal(fast(images).points, first.points), "CPU kernels compute what the reference computes"
    assert not torch.equal(first.pose_enc, micro(images).pose_enc) or method == "fp"
    assert model_hash(micro) == before


@pytest.mark.parametrize("method", METHODS)
def test_seeded_runs_are_identical(micro: VGGT, manifest: Path, tmp_path: Path, method: str) -> None:
    for name in ("a", "b"):
        quantize(micro, method, "w4a4", manifest, tmp_path / f"cache-{name}", seed=3).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("method", QUANTIZING)
def test_the_card_says_whether_the_seed_matters(
    micro: VGGT, manifest: Path, cache: Path, tmp_path: Path, method: str
) -> None:
    tensors = []
    for seed in (0, 1):
        made = quantize(micro, method, "w4a4", manifest, cache, seed=seed)
        tensors.append([linear.codes for linear in made.linears.values()])
    same = all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))
    assert same != CARDS[method.partition(":")[0]].random


@pytest.mark.parametrize("method", QUANTIZING)
@pytest.mark.parametrize("width", [192, 128, 80])
def test_before_rounding_the_model_is_unchanged(
    micro_config: VGGTConfig, manifest: Path, tmp_path: Path, method: str, width: int
) -> None:
    """At 16 bits nothing is rounded, so transforms, folds and scales must cancel: to 1e-9 in float64."""
    torch.manual_seed(0)
    config = replace(micro_config, dim=width, depth=2, dpt_levels=(0, 0, 1, 1), layer_scale=0.5)
    model = VGGT(config).eval().requires_grad_(False).double()
    stir_norms(model)
    clips = DoubleClips(manifest)
    data = Calibration(model, "test", clips, "float64", tmp_path)
    overrides = {**short(method), **({"block_bits": 0} if method.endswith("block-bits") else {})}
    overrides |= {"fold": "v"} if method == "smoothquant" else {}
    quantizer = find_method(method, overrides).quantizer()
    job = Job(model, target_linears(model, "all"), Scheme(16, 16), 0, {}, data)
    changed = quantizer.quantize(job).install(model, execute)
    images = torch.rand(1, 2, 3, 56, 56, dtype=torch.double)
    for name in ("pose_enc", "depth", "points"):
        expected, found = getattr(model(images), name), getattr(changed(images), name)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["quarot", "quarot:gptq"])
def test_a_width_without_hadamard_is_one_clear_line(
    micro_config: VGGTConfig, manifest: Path, cache: Path, method: str
) -> None:
    model = VGGT(replace(micro_config, dim=176, depth=1, dpt_levels=(0, 0, 0, 0))).eval().requires_grad_(False)
    with pytest.raises(UserError, match=r"no Hadamard transform of width 176: it must be 2\^k times 1, 12, 20 or 28"):
        quantize(model, method, "w4a4", manifest, cache)


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
    with pytest.raises(UserError, match="option 'tasks': Value error, must be some of camera, depth, points"):
        api.quantize(micro, "fgq", "w4a4", overrides={"tasks": "camera+pose"})


@pytest.mark.parametrize("name", list(CARDS))
def test_every_hyper_parameter_names_its_source(name: str) -> None:
    card = CARDS[name]
    assert set(card.sources) == set(card.options)
    options = type(find_method(name).quantizer()).Options
    assert set(card.options) == set(options.model_fields), "a card states every option"
