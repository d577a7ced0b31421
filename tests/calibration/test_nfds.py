"""NFDS: who is rejected, what is a cluster, who is drawn; each step against data whose answer is known."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fgq_bench.calibration import candidates as module
from fgq_bench.calibration.candidates import (
    Candidates,
    Features,
    deep_blocks,
    draw_candidates,
    load_or_measure,
    measure,
)
from fgq_bench.calibration.manifest import Clip, load_manifest
from fgq_bench.calibration.nfds import cluster, fence_scores, pick, reject_share, z_scores
from fgq_bench.calibration.sampling import Rule, check_candidates, choose, to_manifest
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset, open_dataset
from fgq_bench.models.vggt import VGGT, VGGTConfig

NFDS = Rule("nfds", "zscore", 0.1, False, 3)


def pool(limit: int = 3) -> list[Dataset]:
    names = [f"procedural-{family}-pool" for family in ("objects", "rooms")]
    return [open_dataset(load_card(DatasetCard, name), limit=limit) for name in names]


@pytest.fixture
def known() -> tuple[Candidates, Features]:
    """60 candidates of two data sets in three blobs of 40, 15 and 5; number 7 has an unusual variance."""
    rng = np.random.default_rng(0)
    clips = tuple(Clip("ab"[i % 2], f"s{i:02d}", ("0", "1", "2")) for i in range(60))
    mean, variance = rng.normal(0, 1, (60, 2)), rng.normal(5, 1, (60, 2))
    variance[7] = 40
    centre = np.repeat([0.1, 0.5, 0.9], [40, 15, 5])
    cosine = centre[:, None] + rng.normal(0, 0.01, (60, 2))
    features = Features(*(torch.from_numpy(values) for values in (mean, variance, cosine)))
    return Candidates(clips, (("a", "0" * 12), ("b", "1" * 12)), 42), features


def test_z_scores_by_hand() -> None:
    mean, variance = np.array([[0.0], [0.0], [3.0]]), np.array([[2.0], [2.0], [2.0]])
    assert z_scores(mean, variance) == pytest.approx([0.5, 0.5, 2])


def test_a_share_is_discarded_or_kept() -> None:
    scores = np.array([3.0, 1, 2, 9, 0, 5, 4, 6, 7, 8])
    assert np.flatnonzero(reject_share(scores, 0.2, keep=False)).tolist() == [3, 9]
    assert np.flatnonzero(~reject_share(scores, 0.2, keep=True)).tolist() == [1, 4]


def test_fences_are_those_of_each_group() -> None:
    usual = np.arange(9.0)  # quartiles 2 and 6: fences -4 and 12
    x = np.concatenate([usual, [11, 13], 100 + usual, [50, 0, 0]])[:, None]
    groups = np.repeat([0, 1, 2], [11, 10, 2])
    low, high = np.quantile(x[:11], (0.25, 0.75))
    scores = fence_scores(x, groups)
    assert (scores > 1.5).tolist() == [*[False] * 11, *[False] * 9, True, False, False]
    assert scores[10] == pytest.approx((13 - high) / (high - low))
    x[10] = high + 1.5 * (high - low) + 3
    assert fence_scores(x, groups)[10] > 1.5
    assert (fence_scores(np.ones((5, 1)), np.zeros(5, dtype=np.int64)) == 0).all()


def test_clusters_are_the_blobs_largest_first() -> None:
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([2, 0, 1], [5, 40, 15]))
    vectors = truth[:, None] + rng.normal(0, 0.02, (60, 9))
    assert cluster(vectors, 3, 0).tolist() == truth.tolist()
    assert cluster(vectors, 8, 1).tolist() == cluster(vectors, 8, 1).tolist()


def test_no_more_clusters_than_distinct_vectors() -> None:
    vectors = np.repeat([[0.0, 0], [1, 1]], [3, 5], 0)
    assert cluster(vectors, 4, 0).tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_picks_are_balanced_and_topped_up() -> None:
    labels = np.repeat([0, 1, 2, -1], [30, 20, 2, 9])
    chosen = pick(labels, 13, random.Random(0))
    assert len(set(chosen)) == 13
    counts = Counter(labels[chosen].tolist())
    assert counts[2] == 2 and counts[-1] == 0
    assert counts[0] >= 5 and counts[1] >= 4  # 13 = 5 + 4 + 4, and the two that cluster 2 lacks
    remainder = np.repeat([0, 1, 2], [30, 20, 9])
    for seed in range(9):
        assert Counter(remainder[pick(remainder, 14, random.Random(seed))].tolist()) == {0: 5, 1: 5, 2: 4}
    assert Counter(labels[pick(labels, 2, random.Random(0))].tolist()) == {0: 1, 1: 1}
    assert sorted(pick(labels, 52, random.Random(0))) == list(range(52))
    assert pick(labels, 13, random.Random(0)) == chosen != pick(labels, 13, random.Random(1))


def test_nfds_leaves_the_outlier_out_and_draws_from_every_blob(known: tuple[Candidates, Features]) -> None:
    choice = choose(NFDS, *known, 9)
    assert choice.labels[7] == -1
    assert (choice.labels == -1).sum() == 6
    assert sorted(choice.labels[choice.chosen]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.diff(choice.labels[choice.chosen]).min() < 0  # mixed
    assert choice.threshold == choice.scores[choice.labels >= 0].max() < choice.scores[choice.labels < 0].min()
    assert choose(NFDS, *known, 9).chosen == choice.chosen
    other = Candidates(known[0].clips, known[0].sources, seed=43)
    assert choose(NFDS, other, known[1], 9).chosen != choice.chosen


def test_the_halves_of_nfds(known: tuple[Candidates, Features]) -> None:
    clustered = choose(Rule("clustered", clusters=3), *known, 9)
    assert np.bincount(clustered.labels).tolist() == [40, 15, 5]
    assert clustered.threshold is None
    filtered = choose(Rule("filtered", "iqr"), *known, 40)
    assert filtered.labels[7] == -1
    assert set(filtered.labels) == {-1, 0}
    kept = choose(Rule("filtered", "zscore", 0.1, True), *known, 6)
    assert sorted(kept.chosen) == sorted(np.argsort(kept.scores)[:6])


def test_a_manifest_says_why(known: tuple[Candidates, Features], tmp_path: Path) -> None:
    choice = choose(NFDS, *known, 9)
    manifest = to_manifest("m", NFDS, known[0], choice, {"model": "vggt-tiny"})
    path = tmp_path / "m.json"
    manifest.save(path)
    assert load_manifest(str(path)) == manifest
    assert [clip.sequence for clip in manifest.clips] == [f"s{i:02d}" for i in choice.chosen]
    selection = manifest.selection
    assert selection["rejected"]["b"]["s07"] == pytest.approx(choice.scores[7], abs=1e-4)
    assert selection["options"] == {"filter": "zscore", "share": 0.1, "keep": False, "clusters": 3}
    assert selection["counts"]["candidates"] == {"a": 30, "b": 30}
    assert sum(map(len, selection["scores"].values())) == sum(selection["counts"]["chosen"].values()) == 9
    for clip in manifest.clips:
        index = int(clip.sequence[1:])
        assert selection["clusters"][clip.dataset][clip.sequence] == choice.labels[index]
    assert sum(selection["cluster_sizes"]) == 54


@pytest.mark.parametrize(
    ("rule", "sequences", "message"),
    [
        (NFDS, 55, "--sequences 55: 54 of 60 candidates are left by the filter; ask for 54 at most"),
        (Rule("nfds", "zscore", 0.1, True, 8), 5, "--clusters 8: 6 of 60 candidates are left by the filter"),
        (Rule("clustered", clusters=8), 61, "--sequences 61: there are 60 candidates; ask for 60 at most"),
    ],
    ids=["sequences", "clusters", "no filter"],
)
def test_too_few_are_left(known: tuple[Candidates, Features], rule: Rule, sequences: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_candidates(rule, known[0], sequences)
    with pytest.raises(UserError, match=message):
        choose(rule, *known, sequences)


def test_candidates_are_every_sequence_once() -> None:
    drawn = draw_candidates(pool(), 4, 42)
    assert [clip.sequence for clip in drawn.clips] == [f"{f}-pool-{i:04d}" for f in ("objects", "rooms") for i in range(3)]  # fmt: skip
    assert all(len(set(clip.frames)) == 4 for clip in drawn.clips)
    assert drawn == draw_candidates(pool(), 4, 42) != draw_candidates(pool(), 4, 43)
    with pytest.raises(UserError, match="--frames 11: objects-pool-0000 of procedural-objects-pool has 10; ask for"):
        draw_candidates(pool(), 11, 42)


def test_deep_layers_are_the_last_sixth() -> None:
    with torch.device("meta"):
        large = VGGT(VGGTConfig())
    blocks = [f"aggregator.{kind}_blocks.{level}" for level in range(20, 24) for kind in ("frame", "global")]
    assert deep_blocks(large) == blocks


def test_features_are_those_of_the_last_level(micro: VGGT) -> None:
    images = torch.rand(3, 3, 56, 56)
    found = measure(micro, images, "float32")
    with torch.no_grad():
        levels = micro.aggregator(images[None], (2, 3))
    before, last = levels[2][0], levels[3][0]  # [S, tokens, 2C], frame | global output
    width = last.shape[-1] // 2
    inputs = (before[..., width:], last[..., :width])  # of the last frame block and of the last global block
    assert found.mean[0].tolist() == pytest.approx([x.mean().item() for x in inputs], abs=1e-6)
    assert found.variance[0].tolist() == pytest.approx([x.var(correction=0).item() for x in inputs], rel=1e-5)
    flat = last.flatten(1)
    cosine = [(flat[0] @ flat[t] / flat[0].norm() / flat[t].norm()).item() for t in (1, 2)]
    assert found.cosine[0].tolist() == pytest.approx(cosine, rel=1e-5)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in micro.modules())


def test_features_are_measured_once(micro: VGGT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets, passes = pool(1), []

    def counted(model: VGGT, images: Tensor, compute_dtype: str) -> Features:
        passes.append(1)
        return measure(model, images, compute_dtype)

    monkeypatch.setattr(module, "measure", counted)
    drawn = draw_candidates(datasets, 2, 0)

    def features(drawn: Candidates, model_hash: str = "a") -> Features:
        return load_or_measure(micro, model_hash, datasets, drawn, "float32", tmp_path)

    first = features(drawn)
    assert first.cosine.shape == (2, 1) and len(passes) == 2
    assert torch.equal(features(drawn).mean, first.mean) and len(passes) == 2
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"half a file")
    assert torch.equal(features(drawn).mean, first.mean) and len(passes) == 4
    features(drawn, "b")
    features(draw_candidates(datasets, 2, 1))
    assert len(passes) == 8
