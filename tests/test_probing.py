"""Probing one stage: the rest of the network runs as it is, in chunks, and errors are relative to the labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fgq_bench import probing
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.errors import UserError
from fgq_bench.geometry import decode_pose, unproject_depth
from fgq_bench.kernels.reference import execute
from fgq_bench.models.layers import Block
from fgq_bench.models.predictions import Predictions
from fgq_bench.models.vggt import VGGT
from fgq_bench.probing import probe
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.sensitivity import measure, quantized_stage
from fgq_bench.task_losses import Labels, geometry_loss, heads, task_loss, total_loss

pytestmark = pytest.mark.usefixtures("eager")


def test_the_float_stage_changes_nothing(data: Calibration) -> None:
    for stage in probe(data, 2):
        assert set(stage.errors(stage.module).values()) == {0.0}, stage.name


@pytest.mark.parametrize(
    "name", ["aggregator.patch_embed.blocks.0", "aggregator.global_blocks.2", "camera_head.trunk.0"]
)
def test_a_changed_stage_is_the_changed_network(micro: VGGT, data: Calibration, name: str) -> None:
    linear = micro.get_submodule(f"{name}.mlp.fc1")
    assert isinstance(linear, torch.nn.Linear)
    rounded = {f"{name}.mlp.fc1": QuantLinear.from_float(linear.weight, linear.bias, Scheme.parse("w3a16"))}
    whole = QuantizedModel(rounded, {}).install(micro, execute)
    images = torch.stack([clip for clip, _ in zip(data.clips, range(2), strict=False)])
    stage = next(each for each in probe(data, 2) if name.startswith(each.name))
    (out,) = stage.predictions(quantized_stage(stage, rounded))
    with torch.no_grad():
        expected = whole(images)
        label = micro(images)
    for field in ("pose_enc", "depth", "points"):
        torch.testing.assert_close(getattr(out, field), getattr(expected, field))
    found = stage.errors(quantized_stage(stage, rounded))
    assert found["depth"] == pytest.approx(
        ((expected.depth - label.depth).norm() / label.depth.norm()).item(), rel=1e-3
    )
    assert found["camera"] > 0


def test_chunks_do_not_change_the_loss(data: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"camera": 1.0, "depth": 1.0, "points": 1.0, "geometry": 1.0}

    def losses() -> list[float]:
        found = []
        for stage in probe(data, 3):
            if isinstance(stage.module, Block):
                linear = stage.module.mlp.fc1
                rounded = QuantLinear.from_float(linear.weight, linear.bias, Scheme.parse("w3a16"))
                found.append(stage.loss(quantized_stage(stage, {f"{stage.name}.mlp.fc1": rounded}), weights))
        return found

    together = losses()
    monkeypatch.setattr(probing, "CHUNK", 1)
    assert losses() == pytest.approx(together, rel=1e-5)
    assert len(together) == 2 + 8


def test_errors_grow_as_bits_shrink(micro: VGGT, data: Calibration) -> None:
    names = [name for name in micro.linear_groups()["aa"] if "frame_blocks.1" in name]
    coarse, fine = (list(measure(data, names, Scheme.parse(s), 2, linears=True)) for s in ("w2a16", "w8a16"))
    assert [each.kind for each in coarse] == ["all", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
    for a, b in zip(coarse, fine, strict=True):
        assert all(a.errors[task] > 5 * b.errors[task] > 0 for task in ("camera", "depth", "points"))


def predictions() -> Predictions:
    torch.manual_seed(0)
    pose = torch.cat([torch.randn(1, 2, 3), torch.nn.functional.normalize(torch.randn(1, 2, 4), dim=-1), torch.ones(1, 2, 2)], -1)  # fmt: skip
    depth, ones = torch.rand(1, 2, 4, 4) + 1, torch.ones(1, 2, 4, 4)
    points = unproject_depth(depth, *decode_pose(pose, (4, 4)))
    return Predictions(pose, depth, ones, points, 2 * ones, [pose])


def test_geometry_loss_is_the_distance_of_the_two_sources() -> None:
    out = predictions()
    assert geometry_loss(out, None) < 1e-6
    out.points = out.points + 0.5
    assert geometry_loss(out, None).item() == pytest.approx(0.5, rel=1e-5)
    out.points[0, 0, 0, 0] += 100
    valid = torch.ones(1, 2, 4, 4, dtype=torch.bool)
    valid[0, 0, 0, 0] = False
    assert geometry_loss(out, valid).item() == pytest.approx(0.5, rel=1e-5)


def test_task_losses_by_hand() -> None:
    out = predictions()
    labels = Labels.of(out)
    assert all(task_loss(task, value, labels) == 0 for task, value in heads(out).items())
    assert task_loss("camera", out.pose_enc + 0.1, labels).item() == pytest.approx(0.5 * 0.1**2, rel=1e-3)
    assert task_loss("depth", out.depth + 2, labels).item() == pytest.approx(2 - 0.5, rel=1e-5)
    assert task_loss("points", out.points + 0.1, labels).item() == pytest.approx(2 * 0.5 * 0.1**2, rel=1e-3)
    moved = Predictions(out.pose_enc + 0.1, out.depth, out.depth_conf, out.points, out.points_conf, [])
    weights = {"camera": 3.0, "depth": 1.0, "points": 1.0, "geometry": 0.0}
    assert total_loss(moved, labels, weights).item() == pytest.approx(3 * 0.5 * 0.1**2, rel=1e-3)
    assert total_loss(moved, labels, {**weights, "geometry": 1.0}) > total_loss(moved, labels, weights)


def test_the_consumer_is_not_in_the_passes_precision(micro: VGGT, manifest: Path, tmp_path: Path) -> None:
    """In bf16 the blocks run under autocast, the losses do not."""
    half = Calibration(micro, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "bfloat16", tmp_path)
    full = Calibration(micro, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", tmp_path)
    for rounded, exact in zip(probe(half, 2, truth=True), probe(full, 2, truth=True), strict=True):
        assert not torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        assert torch.equal(rounded.labels[0].values["camera"], exact.labels[0].values["camera"])
        if rounded.name == "aggregator.global_blocks.3":
            assert not torch.equal(rounded.steps[0].x, exact.steps[0].x)
            (out,) = rounded.predictions(rounded.module)
            assert out.pose_enc.dtype == torch.float32


def test_clips_of_two_sizes_are_refused(data: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [torch.rand(2, 3, 56, 56), torch.rand(3, 3, 56, 56)]
    monkeypatch.setattr(CalibrationClips, "__iter__", lambda self: iter(mixed))
    with pytest.raises(UserError, match="calibration clips differ in their number of frames or image size"):
        next(iter(probe(data, 2)))
