"""QVGGT's parts one by one: protected blocks, the compensation token, the task-aware search, labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stored import header
from torch import Tensor

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.statistics import LinearStatistics
from fgq_bench.errors import UserError
from fgq_bench.kernels.reference import execute
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.probing import probe
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quant.size import count_bytes
from fgq_bench.quant.transforms import Diagonal
from fgq_bench.quantizers.awq import candidate_scales
from fgq_bench.quantizers.base import Job
from fgq_bench.quantizers.compensation import compensation_token, principal_token
from fgq_bench.quantizers.qvggt import PUBLISHED, QVGGT
from fgq_bench.registry import find_method
from fgq_bench.sensitivity import Sensitivity, measure, most_sensitive
from fgq_bench.task_losses import Labels, total_loss

SHORT: dict[str, Any] = {"grid": 2, "probe_clips": 2}


pytestmark = pytest.mark.usefixtures("eager")


def quantizer(**options: Any) -> QVGGT:
    found = find_method("qvggt", {**SHORT, **options}).quantizer()
    assert isinstance(found, QVGGT)
    return found


def job_on(data: Calibration, scheme: str = "w4a16g12", scope: str = "aa") -> Job:
    assert isinstance(data.model, VGGT)
    return Job(data.model, target_linears(data.model, scope), Scheme.parse(scheme), 0, {}, data)


@pytest.mark.parametrize("components", [1, 4, 32])
def test_principal_directions_have_no_effect(components: int) -> None:
    """The paper's formula projects centred tokens, whose mean is zero: the token is the mean for every K."""
    tokens = torch.randn(20, 12) * torch.arange(1, 13) + 3
    torch.testing.assert_close(principal_token(tokens, components), tokens.double().mean(0), rtol=0, atol=1e-9)


def test_compensation_token_is_the_mean_camera_token_at_the_patches_norm(micro: VGGT, data: Calibration) -> None:
    levels = [micro.aggregator(clip[None], (3,))[3][0] for clip in data.clips]  # [frames, tokens, 2C] each
    camera = torch.cat([level[:, 0] for level in levels])
    radius = torch.cat([level[:, 5:].flatten(0, 1) for level in levels]).norm(dim=-1).mean()
    mean = camera.mean(0)
    torch.testing.assert_close(compensation_token(data, 32)[0], mean * radius / mean.norm(), rtol=1e-4, atol=1e-5)


def test_the_camera_head_sees_the_token_and_drops_its_output(micro: VGGT, tmp_path: Path) -> None:
    token, images = torch.randn(1, 96), torch.rand(1, 2, 3, 56, 56)
    QuantizedModel({}, header(), {}, token).save(tmp_path / "token")
    shown = QuantizedModel.load(tmp_path / "token").install(micro, execute)
    frames = micro.aggregator(images, (3,))[3][:, :, 0]
    longer = micro.camera_head(torch.cat([frames, token[None]], 1))
    out = shown(images)
    assert out.pose_enc.shape == (1, 2, 9)
    torch.testing.assert_close(out.pose_enc, longer[-1][:, :2])
    assert not torch.allclose(out.pose_enc, micro(images).pose_enc, atol=1e-4)
    assert torch.equal(out.depth, micro(images).depth)
    sizes = [count_bytes(micro, QuantizedModel({}, {}, {}, each))["camera"] for each in (None, token)]
    assert sizes[1] - sizes[0] == 2 * 96


def test_protected_blocks_keep_all_but_one_linear(micro: VGGT, data: Calibration) -> None:
    job = job_on(data)
    (block,) = quantizer().protected(job)
    found = list(measure(data, micro.linear_groups()["aa"], job.scheme, 2, linears=False))
    assert block == max(found, key=lambda each: each.errors["camera"]).stage
    made = quantizer(search="linear").quantize(job)
    assert [name for name in made.linears if name.startswith(block)] == [f"{block}.attn.proj"]
    assert len(made.linears) == 32 - 3
    assert len(quantizer(search="linear", protect="none").quantize(job).linears) == 32


def test_published_list_is_for_its_model_only(micro_config: VGGTConfig, data: Calibration, manifest: Path) -> None:
    with pytest.raises(UserError, match="protect = published: the list is VGGT-1B's"):
        quantizer(protect="published").quantize(job_on(data))
    config = replace(micro_config, dim=16, heads=2, depth=24, vit_depth=1, camera_depth=1, vit_heads=2)
    model = VGGT(config).eval().requires_grad_(False)
    made = api.quantize(model, "qvggt:vggt-1b", "w4a16", overrides={"search": "linear"}, calibration=str(manifest))
    assert len(made.linears) == 192 - 4 * 3
    for block in PUBLISHED:
        assert [name for name in made.linears if name.startswith(f"{block}.")] == [f"{block}.attn.proj"]


def test_most_sensitive_ranks_whole_stages_by_one_task() -> None:
    found = [
        Sensitivity("a", "all", {"camera": 1.0, "depth": 9.0}), Sensitivity("b", "all", {"camera": 3.0, "depth": 1.0}),
        Sensitivity("b", "attn.proj", {"camera": 8.0, "depth": 1.0}), Sensitivity("c", "all", {"camera": 2.0, "depth": 0.0}),
    ]  # fmt: skip
    assert most_sensitive(found, "camera", 2) == ["b", "c"]
    assert most_sensitive(found, "depth", 1) == ["a"]


def test_search_takes_the_scale_with_the_least_loss_of_the_whole_network(micro: VGGT, data: Calibration) -> None:
    """Against whole forward passes of whole models: re-using cached inputs must not change the choice."""
    job, name = job_on(data), "aggregator.frame_blocks.2.mlp.fc1"
    made = quantizer(grid=4)
    stage = next(each for each in probe(data, 2) if each.name == "aggregator.frame_blocks.2")
    images = torch.stack([clip for clip, _ in zip(data.clips, range(2), strict=False)])
    weights = {"camera": 1.0, "depth": 0.1, "points": 0.1, "geometry": 1.0}
    mean = job.statistics(name).patch_mean
    with torch.no_grad():
        labels = Labels.of(micro(images))
        losses = []
        for scale in candidate_scales(mean, 4):
            linear = job.round(name, transforms=[Diagonal(1 / scale)])
            whole = QuantizedModel({name: linear}, {}).install(micro, execute)
            losses.append(total_loss(whole(images), labels, weights).item())
    assert len(set(losses)) == 4
    best = list(candidate_scales(mean, 4))[losses.index(min(losses))]
    assert torch.equal(made._best(job, stage, name), best)


def test_interrupted_search_goes_on_where_it_was(micro: VGGT, manifest: Path, tmp_path: Path) -> None:
    def codes(folder: str) -> list[Tensor]:
        made = api.quantize(micro, "qvggt", "w4a16", overrides=SHORT, calibration=str(manifest), folder=tmp_path / folder)  # fmt: skip
        return [linear.codes for linear in made.linears.values()]

    whole = codes("a")
    kept = sorted((tmp_path / "a").rglob("scales/*/*"))
    assert len(kept) == 8
    for path in kept[4:]:
        path.unlink()
    untouched = kept[0].stat().st_mtime_ns
    assert all(torch.equal(a, b) for a, b in zip(whole, codes("a"), strict=True))
    assert kept[0].stat().st_mtime_ns == untouched


def test_patch_statistics_leave_special_tokens_out(micro: VGGT, data: Calibration) -> None:
    name = "aggregator.global_blocks.1.attn.qkv"
    rows: list[Tensor] = []
    handle = micro.get_submodule(name).register_forward_pre_hook(lambda _, x: rows.append(x[0].reshape(2, 41, -1)))
    with torch.no_grad():
        for clip in data.clips:
            micro(clip[None])
    handle.remove()
    patches = torch.cat([x[:, 5:].flatten(0, 1) for x in rows])
    found: LinearStatistics = data.statistics(name, [name], patches_only=True)
    torch.testing.assert_close(found.mean, patches.abs().mean(0))
    torch.testing.assert_close(found.hessian, 2 / len(patches) * patches.T @ patches, rtol=1e-4, atol=1e-5)
    assert found.count.tolist() == [0, 0, len(patches)]
    everything = data.statistics(name, [name])
    assert torch.equal(everything.patch_mean, found.mean)
    assert everything.count.sum() > found.count.sum()
    camera = "camera_head.pose_branch.fc1"  # it sees no patch at all
    assert data.statistics(camera, [camera], patches_only=True).count[0] > 0


def test_labels_from_ground_truth(data: Calibration) -> None:
    stage = next(iter(probe(data, 2, truth=True)))
    own = next(iter(probe(data, 2)))
    (truth,), (model,) = stage.labels, own.labels
    scene = data.clips.scene(0)
    assert scene.depth is not None and truth.valid is not None and truth.valid.all()
    depth = truth.values["depth"][0]
    torch.testing.assert_close(depth / depth.mean(), (scene.depth / scene.depth.mean()).float(), rtol=1e-4, atol=1e-5)
    assert torch.equal(truth.confidence["depth"], model.confidence["depth"])
    identity = torch.tensor([0.0, 0, 0, 0, 0, 0, 1])
    torch.testing.assert_close(truth.values["camera"][:, 0, :7], identity.expand(2, -1), rtol=0, atol=1e-5)


def test_data_without_depth_has_no_ground_truth_labels(data: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = data.clips.scene(0)
    monkeypatch.setattr(data.clips, "scene", lambda index: replace(scene, depth=None))
    with pytest.raises(UserError, match=r"labels from ground truth: .* has no cameras, no depth or no mask"):
        next(iter(probe(data, 1, truth=True)))


def test_a_protected_blocks_projection_keeps_its_scale_online(micro: VGGT, data: Calibration) -> None:
    """Its scale cannot fold into the rows of a qkv that stays float; elsewhere it does."""
    job = job_on(data)
    made = quantizer(search="linear")
    (block,) = made.protected(job)
    linears = made.quantize(job).linears
    online = [name for name, linear in linears.items() if name.endswith("attn.proj") and len(linear.transforms)]
    assert online == [f"{block}.attn.proj"]


def test_the_method_does_not_depend_on_the_cache(micro: VGGT, manifest: Path, tmp_path: Path) -> None:
    first, second = (
        api.quantize(micro, "qvggt", "w4a16", overrides=SHORT, calibration=str(manifest), folder=folder)
        for folder in (None, tmp_path)
    )
    assert first.camera_tokens is not None and second.camera_tokens is not None
    assert torch.equal(first.camera_tokens, second.camera_tokens)
    for name, linear in first.linears.items():
        assert torch.equal(linear.codes, second.linears[name].codes)


def test_a_loss_of_nothing_and_a_loss_that_is_not_finite_are_one_line(
    micro: VGGT, data: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="one of them must be above 0"):
        quantizer(camera=0.0, depth=0.0, points=0.0, geometry=0.0)
    monkeypatch.setattr("fgq_bench.probing.ProbedStage.loss", lambda *_: float("nan"))
    with pytest.raises(UserError, match="no scale has a finite loss on the probe clips"):
        quantizer().quantize(job_on(data))
