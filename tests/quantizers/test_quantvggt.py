"""QuantVGGT's block against the paper's formulas written out plainly, its start, its export, and the audit preset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.calibration.stream import Stage, stream
from fgq_bench.diagnostics import without_views
from fgq_bench.kernels.reference import execute
from fgq_bench.models.interface import ROLES
from fgq_bench.models.layers import Block
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal, Hadamard
from fgq_bench.quantizers.base import Job
from fgq_bench.quantizers.dual_smoothing import initial_parameters, rotation_factors, smoothed_block
from fgq_bench.quantizers.learned_linear import Grids
from fgq_bench.quantizers.quantvggt import QuantVGGT
from fgq_bench.quantizers.reconstruction import reconstruct
from fgq_bench.registry import find_method

BLOCK = "aggregator.global_blocks.1"


pytestmark = pytest.mark.usefixtures("eager")


def clips(count: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 56, 56, generator=generator) for _ in range(count)]


@pytest.fixture
def stage(micro: VGGT) -> Stage:
    return next(s for s in stream(micro, clips(), "float32") if s.name == BLOCK)


def quantizer(**options: Any) -> QuantVGGT:
    found = find_method("quantvggt", options).quantizer()
    assert isinstance(found, QuantVGGT)
    return found


def widths(block: Block) -> dict[str, int]:
    return {role: block.get_parameter(f"{role}.weight").shape[1] for role in ROLES}


def start(block: Block, scheme: str) -> dict[str, Tensor]:
    scales = {role: torch.rand(width) + 0.5 for role, width in widths(block).items()}
    signs = {role: torch.randint(0, 2, (width,)) * 2 - 1 for role, width in widths(block).items()}
    parameters = initial_parameters(block, scales, signs, Scheme.parse(scheme))
    for name in parameters:
        if "clip" in name:
            parameters[name] += torch.randn_like(parameters[name]) - 2
    return parameters


def plain_block(
    block: Block, parameters: dict[str, Tensor], bits: int, scale_first: bool, x: Tensor, rotary: Any
) -> Tensor:
    """The spec's forward, one formula a line, with dense rotation matrices R = diag(signs) H."""
    top = 2 ** (bits - 1) - 1

    def linear(role: str, x: Tensor) -> Tensor:
        module, c = block.get_submodule(role), parameters[f"scale.{role}"]
        rotation = torch.diag(parameters[f"signs.{role}"]) @ Hadamard(torch.ones(len(c)))(torch.eye(len(c)))
        xs = (x / c) @ rotation if scale_first else (x @ rotation) / c
        assert isinstance(module, torch.nn.Linear)
        w = module.weight
        ws = (w * c) @ rotation if scale_first else (w @ rotation) * c
        low, high = parameters[f"weight_clip.{role}"][..., 0].sigmoid()
        low, high = ws.amin(1, keepdim=True) * low, ws.amax(1, keepdim=True) * high
        ws = ws.clamp(low, high)
        sw = torch.maximum(-low, high) / top
        wq = (ws / sw).round().clamp(-top - 1, top) * sw
        a_low, a_high = parameters["input_clip"][:, ROLES.index(role)].sigmoid()
        sx = torch.maximum(-xs.amin(-1, keepdim=True) * a_low, xs.amax(-1, keepdim=True) * a_high) / top
        xq = (xs / sx).round().clamp(-top - 1, top) * sx
        out: Tensor = xq @ wq.T + module.bias
        return out

    x = x + block.ls1(linear(ROLES[1], block.attn.attend(linear(ROLES[0], block.norm1(x)), rotary)))
    h = torch.nn.functional.gelu(linear(ROLES[2], block.norm2(x)))
    out: Tensor = x + block.ls2(linear(ROLES[3], h))
    return out


@pytest.mark.parametrize("scale_first", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_block_follows_the_formulas(
    stage: Stage, bits: int, scale_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self)
    block, scheme = stage.module, f"w{bits}a{bits}"
    assert isinstance(block, Block)
    torch.manual_seed(0)
    parameters = start(block, scheme)
    factors = {role: rotation_factors(width, torch.device("cpu")) for role, width in widths(block).items()}
    grids = Grids.of(Scheme.parse(scheme), torch.device("cpu"))
    ours = smoothed_block(block, parameters, factors, scale_first, grids, stage.inputs[0], stage.rotary)
    plain = plain_block(block, parameters, bits, scale_first, stage.inputs[0], stage.rotary)
    other = plain_block(block, parameters, bits, not scale_first, stage.inputs[0], stage.rotary)
    loss = (ours - stage.outputs[0]).square().mean()
    assert (ours - plain).square().mean() < 1e-3 * loss  # single codes flip where the order of fp32 sums differs
    assert (ours - other).square().mean() > 0.1 * loss


@pytest.mark.parametrize("width", [48, 192, 1024, 4096, 8192])
def test_rotation_factors_are_the_artefacts_transform(width: int) -> None:
    left, right = rotation_factors(width, torch.device("cpu"))
    x = torch.randn(3, width)
    expected = Hadamard(torch.ones(width))(x)
    found = (left.T @ x.view(3, len(left), -1) @ right).reshape(3, width)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"order": "scale-rotate"},
        {"rotation": False},
        {"scale": False},
        {"lwc": False, "lac": False},
    ],
    ids=lambda options: ",".join(map(str, options)) or "default",
)
@pytest.mark.parametrize("scheme", ["w4a4", "w4a16g12", "w4a4-wasym-aasym"])
def test_exported_block_does_what_was_trained(
    micro: VGGT, scheme: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, manifest: Path
) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self)
    made, parsed = quantizer(**options), Scheme.parse(scheme)
    data = Calibration(micro, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", None)
    job = Job(micro, [f"{BLOCK}.{role}" for role in ROLES], parsed, 0, {}, data)
    prepared = made.prepare(job, [BLOCK])
    stage = next(s for s in data.stages() if s.name == BLOCK)
    block = stage.module
    assert isinstance(block, Block)
    parameters, fixed = made.start(job, BLOCK, block, parsed, prepared)
    torch.manual_seed(0)
    for name in set(parameters) - fixed:
        parameters[name] = parameters[name] - torch.rand_like(parameters[name]) * (2 if "clip" in name else 0.1)
    trained = made.forward(block, parsed)(parameters, stage.inputs[0], stage.rotary)
    linears, overrides = made.export(job, BLOCK, block, parameters, parsed)
    exported = job.product(linears, overrides).install(micro, execute).get_submodule(BLOCK)
    gap = (exported(stage.inputs[0], stage.rotary) - trained).square().mean()
    assert gap < 0.02 * (trained - stage.outputs[0]).square().mean()


def test_a_scale_behind_the_rotation_stays_online_and_one_before_it_folds(micro: VGGT, manifest: Path) -> None:
    def kinds(**options: Any) -> tuple[list[type], bool]:
        made = api.quantize(micro, "quantvggt", "w4a4", overrides={"epochs": 0, **options}, calibration=str(manifest))
        linear = made.linears[f"{BLOCK}.mlp.fc1"]
        return [type(transform) for transform in linear.transforms], f"{BLOCK}.norm2.weight" in made.overrides

    assert kinds() == ([Hadamard, Diagonal], False)
    assert kinds(order="scale-rotate") == ([Hadamard], True)
    assert kinds(rotation=False) == ([], True)
    assert kinds(scale=False) == ([Hadamard], False)


def test_start_is_the_smoothing_formula_in_the_rotated_space(micro: VGGT, manifest: Path) -> None:
    data = Calibration(micro, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", None)
    name = f"{BLOCK}.{ROLES[0]}"
    seen: list[Tensor] = []
    handle = micro.get_submodule(name).register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    with torch.no_grad():
        for clip in data.clips:
            micro(clip[None])
    handle.remove()
    job = Job(micro, [f"{BLOCK}.{role}" for role in ROLES], Scheme.parse("w4a4"), 0, {}, data)
    block = micro.get_submodule(BLOCK)
    assert isinstance(block, Block)
    weight = micro.get_parameter(f"{name}.weight")
    for options in ({}, {"weight_maximum": "plain", "maximum": "running"}):
        made = quantizer(alpha=0.3, **options)
        prepared = made.prepare(job, [BLOCK])
        found = made.start(job, BLOCK, block, job.scheme, prepared)[0][f"scale.{ROLES[0]}"]
        rotated = torch.stack([prepared.rotations[name](x).abs().amax(1) for x in seen])  # [clips, batch, in]
        a = rotated.amax((0, 1)) if not options else rotated[0].mean(0)  # a fifth of four clips: the first
        w = weight if options else prepared.rotations[name](weight)
        torch.testing.assert_close(found, a**0.3 / w.abs().amax(0) ** 0.7, rtol=1e-4, atol=1e-5)


def test_running_maximum_is_an_exponential_average_over_the_first_fifth() -> None:
    largest = torch.rand(12, 3, 5)
    made = quantizer(maximum="running")
    a, b = largest[:2].mean(1)
    torch.testing.assert_close(made._maximum(largest), 0.95 * a + 0.05 * b)
    torch.testing.assert_close(quantizer()._maximum(largest), largest.amax((0, 1)))


def test_training_lowers_the_error(micro_config: VGGTConfig, manifest: Path) -> None:
    torch.manual_seed(0)
    model = VGGT(replace(micro_config, layer_scale=0.5)).eval().requires_grad_(False)
    made = quantizer(epochs=8)
    data = Calibration(model, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", None)
    job = Job(model, [f"{BLOCK}.{role}" for role in ROLES], Scheme.parse("w4a4"), 0, {}, data)
    stage = next(s for s in data.stages() if s.name == BLOCK)
    block = stage.module
    assert isinstance(block, Block)
    parameters, fixed = made.start(job, BLOCK, block, job.scheme, made.prepare(job, [BLOCK]))
    before = {name: value.clone() for name, value in parameters.items()}
    weights = torch.ones(1, 48)
    history = reconstruct(made.forward(block, job.scheme), parameters, fixed, stage, weights, made.schedule())
    assert history[-1] < 0.9 * history[0]
    same = {name for name, value in parameters.items() if torch.equal(value, before[name])}
    assert same == fixed == {f"signs.{role}" for role in ROLES}


def test_as_released_no_block_ever_sees_two_frames(micro: VGGT) -> None:
    """Every block's inputs are those of a network whose global attention keeps to its own frame."""
    images = clips(2)
    blind = without_views(micro, (56, 56))
    seen: dict[str, list[Tensor]] = {}
    names = [f"aggregator.{kind}_blocks.{level}" for level in range(4) for kind in ("frame", "global")]

    def watch(name: str) -> None:
        module = blind.get_submodule(name if "frame" in name else f"{name}.block")
        module.register_forward_pre_hook(lambda _, x: seen.setdefault(name, []).append(x[0].clone()))

    for name in names:
        watch(name)
    with torch.no_grad():
        for clip in images:
            blind(clip[None])
    for stage in stream(micro, images, "float32", cross_frame=False):
        if stage.name in names:
            for ours, theirs in zip(stage.inputs, seen[stage.name], strict=True):
                assert ours.shape == (2, 21, 48)
                torch.testing.assert_close(ours, theirs)
    last = [next(s for s in stream(micro, images, "float32", c) if s.name == names[-1]) for c in (True, False)]
    assert not torch.allclose(last[0].inputs[0].reshape(2, 21, 48), last[1].inputs[0], atol=1e-4)


def test_the_audit_preset_starts_from_the_true_model(micro: VGGT, manifest: Path) -> None:
    def start_of(method: str) -> Tensor:
        made = api.quantize(micro, method, "w4a4", overrides={"epochs": 0}, calibration=str(manifest))
        diagonal = made.linears[f"{BLOCK}.mlp.fc2"].transforms[1]
        assert isinstance(diagonal, Diagonal)
        return diagonal.scale

    assert torch.equal(start_of("quantvggt:code"), start_of("quantvggt:code-asis"))
    assert not torch.equal(start_of("quantvggt:code"), start_of("quantvggt"))


def test_without_rotation_the_seed_does_not_matter(micro: VGGT, manifest: Path) -> None:
    def codes(seed: int) -> Tensor:
        options: dict[str, Any] = {"epochs": 1, "rotation": False}
        made = api.quantize(micro, "quantvggt", "w4a4", seed=seed, overrides=options, calibration=str(manifest))
        return made.linears[f"{BLOCK}.mlp.fc1"].codes

    assert torch.equal(codes(0), codes(1))
    assert not find_method("quantvggt", {"rotation": False}).is_random
    assert find_method("quantvggt").is_random
