"""The streamed pass: the network's own numbers, in bounded memory, with all frames of a clip together."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fgq_bench.calibration import calibration
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.cost import estimate
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.calibration.statistics import collect
from fgq_bench.calibration.stream import stream
from fgq_bench.errors import UserError
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.quant.scopes import target_linears


def clips(count: int = 3, frames: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(frames, 3, 56, 56, generator=generator) for _ in range(count)]


def test_every_stage_gets_what_the_forward_pass_gives_it(micro: VGGT) -> None:
    images = clips()
    seen: dict[str, list[Tensor]] = {}

    def record(name: str) -> object:
        return micro.get_submodule(name).register_forward_pre_hook(
            lambda _, arguments: seen.setdefault(name, []).append(arguments[0].clone())
        )

    names = [stage.name for stage in stream(micro, images, "float32")]
    handles = [record(name) for name in names]
    with torch.no_grad():
        for clip in images:
            micro(clip[None])
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    for stage in stream(micro, images, "float32"):
        assert all(torch.equal(a, b) for a, b in zip(stage.inputs, seen[stage.name], strict=True)), stage.name
    assert names[:2] == ["aggregator.patch_embed.blocks.0", "aggregator.patch_embed.blocks.1"]
    assert names[2:4] == ["aggregator.frame_blocks.0", "aggregator.global_blocks.0"]
    assert names[-1] == "camera_head"


def test_cross_frame_attention_takes_part(micro: VGGT) -> None:
    """Changing a clip's second frame changes what calibration sees of its first one, in global blocks only."""
    first = clips(1)
    other = [first[0].clone()]
    other[0][1] = torch.rand(3, 56, 56)
    tokens = 1 + 4 + 16

    def of_first_frame(images: list[Tensor], name: str) -> Tensor:
        stage = next(stage for stage in stream(micro, images, "float32") if stage.name == name)
        return stage.outputs[0].reshape(2, tokens, -1)[0]

    frame, global_ = "aggregator.frame_blocks.0", "aggregator.global_blocks.0"
    assert torch.equal(of_first_frame(first, frame), of_first_frame(other, frame))
    assert not torch.allclose(of_first_frame(first, global_), of_first_frame(other, global_), atol=1e-4)


def live_bytes() -> int:
    """Bytes of all tensors that are alive, without those that a compilation left behind (they hold no memory)."""
    gc.collect()
    storages = {}
    for value in gc.get_objects():
        if type(value) in (Tensor, nn.Parameter):
            with contextlib.suppress(RuntimeError):
                storage = value.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def test_memory_does_not_grow_with_the_number_of_blocks(micro_config: VGGTConfig) -> None:
    peaks = []
    for depth in (2, 6):
        config = replace(micro_config, depth=depth, dpt_levels=(0, 0, 1, 1))
        model, images = VGGT(config).eval().requires_grad_(False), clips(8)
        before, peak = live_bytes(), 0
        for stage in stream(model, images, "float32"):
            stage.outputs  # noqa: B018
            peak = max(peak, live_bytes() - before)
            del stage
        peaks.append(peak)
        del model, images
    assert 0 < peaks[1] <= 1.05 * peaks[0]


def test_statistics_are_plain_sums(micro: VGGT) -> None:
    name = "aggregator.global_blocks.1.mlp.fc2"
    inputs: list[Tensor] = []
    handle = micro.get_submodule(name).register_forward_pre_hook(lambda _, x: inputs.append(x[0].clone()))
    with torch.no_grad():
        for clip in clips():
            micro(clip[None])
    handle.remove()
    rows = torch.cat([x.reshape(2, 21, -1) for x in inputs])  # [frames, tokens, n]
    stage = next(s for s in stream(micro, clips(), "float32") if s.name == "aggregator.global_blocks.1")
    found = collect(stage, [name])[name]
    flat = rows.flatten(0, 1).double()
    torch.testing.assert_close(found.hessian.double(), 2 / len(flat) * flat.T @ flat, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.maximum, rows.abs().amax((0, 1)))
    torch.testing.assert_close(found.mean, rows.abs().mean((0, 1)))
    assert found.count.tolist() == [6, 24, 96]
    torch.testing.assert_close(found.absmax[0], rows[:, 0].abs().amax(0))
    torch.testing.assert_close(found.abs_sum[1], rows[:, 1:5].abs().sum((0, 1)))
    assert not stage.module._forward_pre_hooks


def test_one_capture_serves_everybody(
    micro: VGGT, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = target_linears(micro, "all")
    loaded = CalibrationClips(load_manifest(str(manifest)), {})
    Calibration(micro, "hash", loaded, "float32", tmp_path).capture(targets)
    again = Calibration(micro, "hash", loaded, "float32", tmp_path)
    monkeypatch.setattr(calibration, "resumed", lambda *_: pytest.fail("captured twice"))
    assert again.statistics(targets[0], targets).count.sum() > 0
    other = Calibration(micro, "other model", loaded, "float32", tmp_path)
    assert not other.holds(f"statistics/{targets[0]}")
    path = next(tmp_path.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:50])
    assert not all(again.holds(f"statistics/{name}") for name in targets)


def test_the_camera_head_is_streamed_as_one_stage_with_its_blocks_inside(micro: VGGT) -> None:
    last = list(stream(micro, clips(), "float32"))[-1]
    inner = list(last.blocks())
    assert [stage.name for stage in inner] == ["camera_head.trunk.0", "camera_head.trunk.1"]
    assert len(inner[0].inputs) == 3 * 4  # clips times refinement iterations
    assert isinstance(last.module, nn.Module)


def test_clips_of_two_sizes_are_refused(micro: VGGT) -> None:
    mixed = [torch.rand(2, 3, 56, 56), torch.rand(3, 3, 56, 56)]
    with pytest.raises(UserError, match="calibration clips differ in their number of frames or image size"):
        next(stream(micro, mixed, "float32"))


def test_cost_counts_the_hessians_exactly(micro_config: VGGTConfig) -> None:
    with torch.device("meta"):
        model, images = VGGT(micro_config), torch.zeros(1, 2, 3, 56, 56)
    cost = estimate(model, target_linears(model, "aa"), 5, images, "cpu", "float32")
    tokens, width = 2 * 21, 48
    per_block = 2.0 * tokens * (3 * width**2 + (4 * width) ** 2)
    assert cost.statistics_flops == 5 * 8 * per_block
    assert cost.stages == 2 + 8
    assert cost.stream_bytes == 5 * 2 * tokens * width * 4
    linear_flops = 2 * tokens * 12 * width**2
    assert cost.forward_flops > 5 * 8 * linear_flops
