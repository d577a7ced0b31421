"""Static scales: the ranges of the quantized model's own transformed inputs, at every token position."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fgq_bench import api
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.calibration.ranges import calibrate_inputs
from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import execute
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear, find_linear, quantized_linears
from fgq_bench.quant.scheme import Scheme

TOKENS = 1 + 4 + 36  # of a frame of 84 pixels
POSITIONS = {
    "aggregator.patch_embed.blocks.1.mlp.fc2": TOKENS,
    "aggregator.frame_blocks.0.attn.qkv": TOKENS,
    "aggregator.global_blocks.3.mlp.fc1": TOKENS,
    "camera_head.trunk.1.attn.proj": 1,
}


def seen_inputs(quantized: QuantizedModel, model: VGGT, manifest: Path) -> dict[str, Tensor]:
    """Transformed inputs [frames, positions, in] of ``POSITIONS`` in whole forward passes over the clips."""
    seen: dict[int, list[Tensor]] = {}

    def spy(x: Tensor, linear: QuantLinear) -> Tensor:
        seen.setdefault(id(linear), []).append(linear.transformed(x))
        return execute(x, linear)

    installed = quantized.install(model, spy)
    with torch.no_grad():
        for clip in CalibrationClips(load_manifest(str(manifest)), {}):
            installed(clip[None])
    linears = {name: installed.get_submodule(name) for name in POSITIONS}
    return {
        name: torch.cat([x.reshape(-1, POSITIONS[name], x.shape[-1]) for x in seen[id(linear)]])
        for name, linear in linears.items()
    }


@pytest.mark.parametrize("method", ["rtn", "quarot", "smoothquant"])
def test_scales_are_those_of_the_quantized_model(micro: VGGT, manifest: Path, method: str) -> None:
    def static_and_inputs(flags: str) -> tuple[QuantizedModel, dict[str, Tensor]]:
        static, dynamic = (
            api.quantize(micro, method, f"w4a4{all_flags}", "all", calibration=str(manifest))
            for all_flags in (flags + "-astatic", flags)
        )
        return static, seen_inputs(dynamic, micro, manifest)

    static, inputs = static_and_inputs("")
    for name, x in inputs.items():
        torch.testing.assert_close(static.linears[name].act_scale, x.abs().amax((0, 2)) / 7, msg=name)
    static, inputs = static_and_inputs("-atensor")
    for name, x in inputs.items():
        torch.testing.assert_close(static.linears[name].act_scale, x.abs().max()[None] / 7, msg=name)
    static, inputs = static_and_inputs("-aasym")
    for name, x in inputs.items():
        low, zero = x.amin((0, 2)).clamp(max=0), static.linears[name].act_zero
        scale = (x.amax((0, 2)).clamp(min=0) - low) / 15
        torch.testing.assert_close(static.linears[name].act_scale, scale, msg=name)
        assert zero is not None and torch.equal(zero.float(), (-8 - low / scale).round().clamp(-8, 7)), name


def test_a_smaller_number_of_frames_runs_and_another_image_size_does_not(micro: VGGT, manifest: Path) -> None:
    small = api.quantize(micro, "rtn", "w4a4-astatic", calibration=str(manifest)).install(micro, execute)
    assert small(torch.rand(1, 1, 3, 84, 84)).pose_enc.isfinite().all()
    with pytest.raises(UserError, match=rf"for {TOKENS} token positions do not fit 21 tokens"):
        small(torch.rand(1, 2, 3, 56, 56))


def clips() -> list[Tensor]:
    return [torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]


@pytest.mark.parametrize("flag", ["", "-aasym"])
def test_clip_factors_go_into_the_scales(micro: VGGT, flag: str) -> None:
    name = "aggregator.global_blocks.0.mlp.fc1"
    made = {}
    for clip in (None, torch.tensor([0.5, 0.5])):
        linear = QuantLinear.from_float(*find_linear(micro, name), Scheme.parse(f"w8a8-astatic{flag}"), act_clip=clip)
        calibrate_inputs(QuantizedModel({name: linear}, {}), micro, clips(), "float32")
        assert linear.act_clip is None
        made[clip is None] = linear
    plain, halved = made[True].act_scale, made[False].act_scale
    assert plain is not None and halved is not None
    torch.testing.assert_close(halved, plain / 2)


def test_linears_have_schemes_of_their_own(micro: VGGT) -> None:
    """Mixed precision: only a linear whose own scheme is static gets scales, with the highest code of its own bits."""
    parent = "aggregator.frame_blocks.1.attn"
    schemes = {"q": "w8a8-astatic", "k": "w8a4-astatic", "v": "w4a16-astatic"}
    made = QuantizedModel(
        {
            f"{parent}.{part}": QuantLinear.from_float(*find_linear(micro, f"{parent}.{part}"), Scheme.parse(text))
            for part, text in schemes.items()
        },
        {},
    )
    calibrate_inputs(made, micro, clips(), "float32")
    q, k, v = (made.linears[f"{parent}.{part}"] for part in "qkv")
    assert q.act_scale is not None and k.act_scale is not None and v.act_scale is None
    torch.testing.assert_close(q.act_scale * 127, k.act_scale * 7)
    installed = made.install(micro, execute)
    assert set(quantized_linears(installed.get_submodule(parent), parent)) == set(made.linears)
    assert installed(clips()[0][None]).pose_enc.isfinite().all()


def test_nothing_of_the_float_model_or_its_copy_stays_changed(micro: VGGT, manifest: Path) -> None:
    made = api.quantize(micro, "rtn", "w4a4-astatic", calibration=str(manifest))
    assert {str(linear.scheme) for linear in made.linears.values()} == {"w4a4-astatic"}
    assert all(linear.executor is None for linear in made.linears.values())
