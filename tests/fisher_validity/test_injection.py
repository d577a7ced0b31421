"""Noise is matched, held-out clips are held out, and what is disturbed is one channel of the real network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import load_manifest
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.fisher_validity.cancellation import artefacts, token_deviation, weight_changes
from fgq_bench.fisher_validity.injection import MEASURES, choose_channels, held_out_clips, inject
from fgq_bench.fisher_validity.noise import disturb_all, disturb_channel, draw_signs, noise_size
from fgq_bench.fisher_validity.predictors import measure_activations
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.models.vggt import VGGT
from fgq_bench.probing import probe
from fgq_bench.quant.grid import quantize_rows

pytestmark = pytest.mark.usefixtures("eager")
BLOCKS = [f"aggregator.{kind}_blocks.{level}" for level in range(4) for kind in ("frame", "global")]


def test_noise_is_as_large_as_the_rounding_error() -> None:
    x = torch.rand(4, 100, 4096, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codes, scale, _ = quantize_rows(x, 4, False)
    rounded = (codes * scale - x).square().mean().sqrt()
    assert noise_size(x).square().mean().sqrt().item() == pytest.approx(rounded.item(), rel=0.02)


def test_noise_of_one_channel_is_matched_and_leaves_the_others() -> None:
    x, signs = torch.randn(2, 5, 8), draw_signs((2, 5), 0)
    a, b = disturb_channel(x, 3, signs) - x, disturb_channel(x, 6, signs) - x
    torch.testing.assert_close(a[..., 3], b[..., 6])
    assert a[..., [0, 1, 2, 4, 5, 6, 7]].eq(0).all()
    torch.testing.assert_close(a[..., 3].abs(), noise_size(x)[..., 0])
    whole = disturb_all(x, 0.25, draw_signs((2, 5, 8), 0)) - x
    assert whole.square().mean().sqrt().item() == pytest.approx(0.25, rel=1e-4)


def test_channels_are_drawn_without_repeats() -> None:
    drawn = choose_channels(3, 48, 20)
    assert drawn.shape == (3, 20)
    assert all(len(set(row.tolist())) == 20 for row in drawn)
    assert torch.equal(choose_channels(2, 48, 64), torch.arange(48).repeat(2, 1))


@pytest.fixture
def datasets() -> list[Dataset]:
    return [open_dataset(load_card(DatasetCard, f"procedural-{family}")) for family in ("objects", "rooms")]


def test_held_out_clips_come_in_equal_shares(datasets: list[Dataset], manifest: Path) -> None:
    clips = held_out_clips(datasets, 5, {})
    assert [clip.dataset.split("-")[1] for clip in clips.manifest.clips] == ["objects"] * 3 + ["rooms"] * 2
    assert not clips.global_names() & {f"x {clip.sequence}" for clip in load_manifest(str(manifest)).clips}
    for count in (1, 1000):
        with pytest.raises(UserError, match=f"--clips {count}: procedural-"):
            held_out_clips(datasets, count, {})


def test_damage_is_that_of_the_network_with_the_disturbed_block(
    micro: VGGT, datasets: list[Dataset], tmp_path: Path
) -> None:
    held_out = Calibration(micro, "hash", held_out_clips(datasets, 2, {}), "float32", tmp_path)
    blocks = BLOCKS[1:3]
    channels = choose_channels(2, 48, 2)
    found = inject(held_out, blocks, channels, [0, 1], 0.1)
    assert found.by_channel.shape == (2, 2, 2, 2, len(MEASURES))
    assert (found.by_channel > 0).all() and (found.by_block > 0).all()
    assert (found.by_block.mean((1, 2)) > found.by_channel.mean((1, 2, 3))).all()
    stage = next(each for each in probe(held_out, 2) if each.name == blocks[1])
    (output,) = stage.outputs(stage.module)
    noisy = disturb_channel(output, int(channels[1, 1]), draw_signs((output[..., 0].numel(),), 1).view(output.shape[:2]))  # fmt: skip
    (out,) = stage.resumed([noisy])
    reference = stage.labels[0].values["depth"].double()
    expected = ((out.depth.double() - reference).abs() / reference).flatten(1).median(1).values
    torch.testing.assert_close(found.by_channel[1, 1, 1, :, 2], expected, rtol=1e-4, atol=0)


def test_variance_is_over_tokens_and_clips(data: Calibration) -> None:
    found = measure_activations(data, BLOCKS[:3])
    stage = next(each for each in data.stages() if each.name == BLOCKS[1])
    tokens = torch.cat([out.flatten(0, 1) for out in stage.outputs]).double()
    torch.testing.assert_close(found.variance[1], tokens.var(0, correction=0), rtol=1e-6, atol=0)
    counts = stage.token_types.bincount(minlength=3)
    torch.testing.assert_close(found.noise_by_type @ counts.double() / counts.sum(), torch.ones(3, dtype=torch.float64))
    sizes = torch.stack([noise_size(out)[..., 0].square().mean(0) for out in stage.outputs]).mean(0)
    camera = sizes[stage.token_types == 0].mean() / sizes.mean()
    assert found.noise_by_type[1, 0].item() == pytest.approx(camera.item(), rel=1e-5)
    assert found.noise > 0


def test_factors_per_block_cancel_in_the_weights_of_one_task() -> None:
    fisher = torch.rand(3, 6, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    changes = weight_changes(fisher, 20)
    assert all(changes[task] < 1e-14 for task in ("camera", "depth", "points"))
    assert changes["camera+depth+points"] > 0.1


def test_factors_per_block_leave_the_artefact_as_it_is(data: Calibration) -> None:
    found = artefacts(data)
    plain = found.pop("plain")
    assert found.pop("weights permuted (must differ)") != plain
    assert set(found.values()) == {plain}
    assert len(found) == 3


def test_the_compensation_token_is_the_mean(data: Calibration) -> None:
    assert token_deviation(data, 4) < 1e-12
