"""Fisher information against plain autograd, weights against hand-made tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.fisher import ESTIMATORS, Estimator, channel_weights, estimate, jitter, load_or_estimate, token_weights
from fgq_bench.models.vggt import VGGT

BLOCKS = [f"aggregator.{kind}_blocks.{level}" for level in range(4) for kind in ("frame", "global")]


@pytest.fixture
def calibration(micro: VGGT, manifest: Path, tmp_path: Path) -> Calibration:
    return Calibration(micro, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", tmp_path)


def test_sum_is_the_squared_gradient_of_the_summed_output(micro: VGGT, calibration: Calibration) -> None:
    """Gradients by adding a zero perturbation to each block's output and differentiating with respect to it."""
    found = estimate(calibration, BLOCKS, "sum", 1, 0)
    expected = torch.zeros(3, len(BLOCKS), 48)
    shifts: dict[str, Tensor] = {}

    def adding(name: str) -> Callable[..., Tensor]:
        def add(_module: object, _inputs: object, output: Tensor) -> Tensor:
            shifts[name] = torch.zeros_like(output, requires_grad=True)
            return output + shifts[name]

        return add

    for clip in calibration.clips:
        handles = [micro.get_submodule(name).register_forward_hook(adding(name)) for name in BLOCKS]
        out = micro(clip[None])
        for index, head in enumerate((out.pose_enc, out.depth, out.points)):
            gradients = torch.autograd.grad(head.sum(), [shifts[name] for name in BLOCKS], retain_graph=True)
            expected[index] += torch.stack([g.square().sum((0, 1)) for g in gradients]) / len(calibration.clips)
        for handle in handles:
            handle.remove()
    torch.testing.assert_close(found.sum(2), expected, rtol=1e-4, atol=1e-9)


def test_gauss_newton_converges_to_the_diagonal_of_jtj(micro: VGGT, calibration: Calibration) -> None:
    """For the 18 pose numbers of a clip the exact diagonal is affordable: one gradient per output."""
    last = BLOCKS[-1:]
    found = estimate(calibration, last, "gauss-newton", 200, 0)[0, 0].sum(0)
    exact, kept = torch.zeros(48), []

    def keep(_module: object, _inputs: object, output: Tensor) -> None:
        kept.append(output.requires_grad_())

    for clip in calibration.clips:
        handle = micro.get_submodule(last[0]).register_forward_hook(keep)
        pose = micro(clip[None]).pose_enc.flatten()
        handle.remove()
        for value in pose:
            (gradient,) = torch.autograd.grad(value, kept[-1], retain_graph=True)
            exact += gradient.square().sum((0, 1)) / len(pose) / len(calibration.clips)
    assert torch.corrcoef(torch.stack([found, exact]))[0, 1] > 0.97
    assert found.sum().item() == pytest.approx(exact.sum().item(), rel=0.15)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_shape_seed_and_cache(micro: VGGT, calibration: Calibration, name: str) -> None:
    first = load_or_estimate(calibration, BLOCKS, name, 2, 0)
    assert first.shape == (3, len(BLOCKS), 3, 48)
    assert first.isfinite().all() and (first.sum((2, 3)) > 0).all()
    assert torch.equal(first, estimate(calibration, BLOCKS, name, 2, 0))
    assert torch.equal(first, load_or_estimate(calibration, BLOCKS, name, 2, 0))
    differs = not torch.equal(first, estimate(calibration, BLOCKS, name, 2, 1))
    assert differs == (name != "sum")
    assert not micro.get_parameter("camera_head.pose_branch.fc1.weight").requires_grad
    assert not micro.get_submodule(BLOCKS[0])._forward_hooks


def test_pseudo_labels_are_the_same_frames_in_their_own_order() -> None:
    """Without jitter a model that ignores the order must label every frame with its own prediction."""
    estimator = Estimator("pseudo-label", 1, 0)
    images = torch.rand(1, 4, 3, 56, 56)

    def mark(frames: Tensor) -> object:
        class Out:
            pose_enc = depth = points = depth_conf = points_conf = frames.mean((2, 3, 4))

        return Out()

    labels = estimator.labels(images, mark)  # type: ignore[arg-type]
    assert labels is not None
    order, depth = images.mean((2, 3, 4)).argsort(), labels.values["depth"]
    assert torch.equal(depth.argsort(), order) or (depth - images.mean((2, 3, 4))).abs().max() < 0.15
    assert depth.shape == (1, 4)


def test_jitter_stays_an_image_and_changes_it() -> None:
    images = torch.rand(3, 3, 8, 8)
    changed = jitter(images, torch.Generator().manual_seed(0))
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.equal(changed, images)


def test_channel_weights_follow_the_paper() -> None:
    fisher = torch.tensor([[[1.0, 3.0], [4.0, 0.0]], [[100.0, 100.0], [100.0, 100.0]], [[0.0, 0.0], [8.0, 0.0]]])
    balanced = fisher[0] / 2 + fisher[1] / 100 + fisher[2] / 2
    expected = (balanced / balanced.mean(1, keepdim=True)).clamp(min=0.01)
    torch.testing.assert_close(channel_weights(fisher, ["camera", "depth", "points"]), expected)
    torch.testing.assert_close(channel_weights(fisher, ["points"])[1], torch.tensor([2.0, 0.01]))
    scaled = fisher * torch.tensor([1.0, 7.0, 0.1])[:, None, None]
    torch.testing.assert_close(channel_weights(scaled, ["camera", "depth", "points"]), expected)


def test_a_block_that_no_task_reads_gets_equal_weights() -> None:
    fisher = torch.rand(3, 2, 4)
    fisher[:, 1] = 0
    assert channel_weights(fisher, ["points"])[1].eq(0.01).all()
    assert token_weights(fisher[:, :, None].expand(-1, -1, 3, -1), torch.ones(3), ["points"])[1].eq(0.01).all()


def test_token_weights_have_mean_one_over_tokens_and_prefer_what_matters() -> None:
    fisher, counts = torch.rand(3, 5, 3, 16) + 0.5, torch.tensor([1.0, 4.0, 36.0])
    weights = token_weights(fisher, counts, ["camera", "depth"])
    mean = (weights * counts[:, None]).sum((1, 2)) / (counts.sum() * 16)
    torch.testing.assert_close(mean, torch.ones(5))
    assert (weights[:, 0].mean(1) > 5 * weights[:, 2].mean(1)).all()  # equal shares, far fewer tokens
