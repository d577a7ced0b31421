"""Samplers: which sequences of a data set become calibration clips."""

from __future__ import annotations

import random

from fgq_bench.calibration.manifest import Clip, Manifest, fingerprint
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
