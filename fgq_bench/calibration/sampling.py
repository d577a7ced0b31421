"""Samplers: which sequences become calibration clips, and why.

- ``random``: a uniform draw, in equal shares from the data sets.
- ``nfds``: QuantVGGT's Noise-Filtered Diverse Sampling as its paper has it: filter, k-means, draws from every cluster.
- ``filtered``, ``clustered``: its two halves alone. ``clustered`` is what its released code really does (the filter
  there prints a count, then everything is clustered; spec: quantvggt, 6.1).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgq_bench.calibration.candidates import Candidates, Features
from fgq_bench.calibration.manifest import Clip, Manifest, fingerprint
from fgq_bench.calibration.nfds import (
    FENCE,
    Floats,
    cluster,
    count_kept,
    fence_scores,
    pick,
    reject_share,
    z_scores,
)
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset


def sample_random(name: str, datasets: list[Dataset], sequences: int, frames: int, seed: int) -> Manifest:
    """Draw ``sequences`` clips of ``frames`` frames, in equal shares from ``datasets``, without replacement.

    Frames keep the order in which they were drawn, as FGQ's sampler leaves them (spec: fgq, 2.3), so the reference
    view is random too.

    Raises:
        UserError: shares that are not equal, too few sequences in a data set, or too few frames in a sequence.
    """
    share, rest = divmod(sequences, len(datasets))
    if rest:
        raise UserError(f"--sequences {sequences}: not a multiple of the {len(datasets)} data sets")
    rng = random.Random(seed)
    clips = []
    for dataset in datasets:
        names = sorted(dataset.frames)
        if share > len(names):
            raise UserError(f"data set {dataset.card.name} has {len(names)} sequences, {share} are wanted")
        for sequence in rng.sample(names, share):
            available = dataset.frames[sequence]
            if frames > len(available):
                raise UserError(f"{dataset.card.name}, {sequence}: {len(available)} frames, {frames} are wanted")
            clips.append(Clip(dataset.card.name, sequence, tuple(rng.sample(available, frames))))
    rng.shuffle(clips)  # methods that learn see the data sets mixed
    sources = tuple((dataset.card.name, fingerprint(dataset)) for dataset in datasets)
    return Manifest(name, "random", seed, tuple(clips), sources)


@dataclass(frozen=True)
class Rule:
    """How candidates become clips; None: this step is left out, or has no such option."""

    sampler: str
    filter: str | None = None  # ``zscore`` (the paper's) or ``iqr`` (the released code's)
    share: float | None = None  # of the candidates, what ``zscore`` rejects
    keep: bool | None = None  # whether ``share`` is what it keeps instead
    clusters: int | None = None

    def __str__(self) -> str:
        part = f"{'keep' if self.keep else 'discard'} {self.share:.0%}" if self.share else "1.5 IQR"
        steps = (f"{self.filter}: {part}" if self.filter else "", f"K = {self.clusters}" if self.clusters else "")
        return f"{self.sampler} ({', '.join(filter(None, steps))})"


@dataclass(frozen=True)
class Choice:
    """What a rule makes of N candidates."""

    scores: Floats  # [N], high is unusual; z-scores also where nothing is filtered
    threshold: float | None  # scores above it are rejected; None: nothing is filtered
    labels: NDArray[np.int64]  # [N], cluster (0 is the largest), -1 where rejected
    chosen: list[int]  # indices of the clips, in the manifest's order


def check_enough(rule: Rule, candidates: int, kept: int, sequences: int) -> None:
    """Raise UserError where fewer candidates are ``kept`` than ``sequences`` or clusters are wanted."""
    left = f"{kept} of {candidates} candidates are left by the filter" if kept < candidates else f"there are {kept} candidates"  # fmt: skip
    if sequences > kept:
        raise UserError(f"--sequences {sequences}: {left}; ask for {kept} at most")
    if (rule.clusters or 0) > kept:
        raise UserError(f"--clusters {rule.clusters}: {left}; ask for {kept} at most")


def check_candidates(rule: Rule, candidates: Candidates, sequences: int) -> None:
    """What can be refused before the model runs: see ``check_enough``, and frames that cannot be compared."""
    if len(candidates.clips[0].frames) < 2:
        raise UserError(f"--frames 1: sampler {rule.sampler} compares the first frame with the others; ask for 2 or more")  # fmt: skip
    total = len(candidates.clips)
    check_enough(rule, total, count_kept(total, rule.share, bool(rule.keep)) if rule.share else total, sequences)


def choose(rule: Rule, candidates: Candidates, features: Features, sequences: int) -> Choice:
    """Apply ``rule``; the draw is decided by the candidates' seed.

    Raises:
        UserError: fewer candidates kept than ``sequences`` or clusters.
    """
    mean, variance = features.mean.numpy(), features.variance.numpy()
    if rule.filter == "iqr":
        places = [(clip.dataset, clip.sequence.rpartition("/")[0]) for clip in candidates.clips]  # with the category
        known = sorted(set(places))
        groups = np.array([known.index(place) for place in places])
        scores, threshold = fence_scores(np.concatenate([mean, np.sqrt(variance)], 1), groups), FENCE
        rejected = scores > threshold
    else:
        scores, threshold = z_scores(mean, variance), None
        rejected = np.zeros(len(scores), dtype=np.bool_)
        if rule.share is not None:
            rejected = reject_share(scores, rule.share, bool(rule.keep))
            threshold = float(scores[~rejected].max())
    kept = np.flatnonzero(~rejected)
    check_enough(rule, len(scores), len(kept), sequences)
    rng = random.Random(f"picks {candidates.seed}")
    seed, labels = rng.getrandbits(32), np.full(len(scores), -1)
    labels[kept] = cluster(features.cosine.numpy()[kept], rule.clusters, seed) if rule.clusters else 0
    chosen = pick(labels, sequences, rng)
    rng.shuffle(chosen)  # methods that learn see clusters and data sets mixed
    return Choice(scores, threshold, labels, chosen)


def to_manifest(name: str, rule: Rule, candidates: Candidates, choice: Choice, measured: dict[str, Any]) -> Manifest:
    """The manifest of a choice; its ``selection`` also says what the features were ``measured`` with."""
    clips = candidates.clips
    rejected = np.flatnonzero(choice.labels < 0).tolist()

    def by_dataset(indices: list[int], value: Callable[[int], Any]) -> dict[str, dict[str, Any]]:
        return {
            source: {clips[i].sequence: value(i) for i in indices if clips[i].dataset == source}
            for source, _ in candidates.sources
        }

    everything = {"candidates": list(range(len(clips))), "rejected": rejected, "chosen": choice.chosen}
    selection = {
        **measured,
        "options": {key: value for key, value in asdict(rule).items() if key != "sampler" and value is not None},
        "threshold": None if choice.threshold is None else round(choice.threshold, 4),
        "counts": {
            what: {source: sum(clips[i].dataset == source for i in indices) for source, _ in candidates.sources}
            for what, indices in everything.items()
        },
        "scores": by_dataset(choice.chosen, lambda i: round(float(choice.scores[i]), 4)),
        "rejected": by_dataset(rejected, lambda i: round(float(choice.scores[i]), 4)),
    }
    if rule.clusters:
        selection["cluster_sizes"] = np.bincount(choice.labels[choice.labels >= 0]).tolist()
        selection["clusters"] = by_dataset(choice.chosen, lambda i: int(choice.labels[i]))
    drawn = tuple(clips[i] for i in choice.chosen)
    return Manifest(name, rule.sampler, candidates.seed, drawn, candidates.sources, selection)
