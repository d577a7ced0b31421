"""Our frame rules give the frame lists of the public toolkit that FGQ's evaluation derives from, frame by frame.

The random lists do not say how many frames a sequence has, but the generator does: only one number gives its frames (for
one sequence in six a few neighbouring ones: the shuffles of n and n + 1 may fall into step).
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from real_scenes import sample

from fgq_bench.cards import ProtocolCard, ProtocolEntry, load_card
from fgq_bench.loaders.co3d import SEEN, UNSEEN
from fgq_bench.loaders.frames import FrameList, choose_frames

LONGEST = 400  # frames that a sequence may have; those of the lists have 54 to 279
Published = dict[str, list[int]]


def published(name: str) -> Published:
    found: Published = json.loads((sample("frame_lists") / f"{name}.json").read_text())
    return found


def numbered(counts: dict[str, int]) -> FrameList:
    return {sequence: [str(i) for i in range(count)] for sequence, count in counts.items()}


def recover_counts(lists: Published, seed: int) -> dict[str, int]:
    """Frames of every sequence: a number that makes NumPy's generator draw what is listed, in the file's order."""
    rng = np.random.RandomState(seed)
    seen: Counter[int] = Counter()
    counts = {}
    for sequence, frames in lists.items():
        state = rng.get_state()
        likely = [n for n, _ in seen.most_common(20)]
        for n in [*likely, *range(max(frames) + 1, LONGEST)]:
            if n <= max(frames):
                continue
            rng.set_state(state)
            if rng.choice(n, len(frames), replace=False).tolist() == frames:
                counts[sequence] = n
                seen[n] += 1
                break
        else:
            pytest.fail(f"{sequence}: no number of frames gives its list")
    return counts


def runs(names: list[str]) -> list[list[str]]:
    """Stretches of sorted names."""
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(names), 1) if a > b), len(names)]
    return [names[a:b] for a, b in pairwise(starts)]


def fgq(dataset: str) -> ProtocolEntry:
    return load_card(ProtocolCard, "fgq").datasets[dataset]


def as_numbers(frames: FrameList) -> Published:
    return {sequence: [int(name) for name in names] for sequence, names in frames.items()}


def test_random_frames_of_realestate10k() -> None:
    lists = published("Re10K_relpose_seq-id-map_seed42")
    counts = recover_counts(lists, 42)
    assert len(counts) == 1719
    assert list(lists) == sorted(lists)
    assert as_numbers(choose_frames(fgq("re10k"), numbered(counts))) == lists


def test_random_frames_of_co3d() -> None:
    """Names there lack the category, but come in 50 sorted runs: one generator for all categories, in sorted order."""
    lists = published("CO3Dv2_relpose_seq-id-map_seed42")
    counts = recover_counts(lists, 42)
    assert len(counts) == 2506
    assert min(counts.values()) >= fgq("co3dv2").minimum
    stretches = runs(list(lists))
    assert len(stretches) == 50
    categories = sorted(SEEN + UNSEEN)
    full = {name: f"{category}/{name}" for category, run in zip(categories, stretches, strict=False) for name in run}
    assert len(full) == 2506
    found = choose_frames(fgq("co3dv2"), numbered({full[name]: count for name, count in counts.items()}))
    assert as_numbers(found) == {full[name]: frames for name, frames in lists.items()}
    assert list(found) == [full[name] for name in lists]


def test_other_counts_or_another_order_give_other_frames() -> None:
    lists = dict(list(published("CO3Dv2_relpose_seq-id-map_seed42").items())[:40])
    counts = recover_counts(lists, 42)
    entry, first = fgq("co3dv2"), next(iter(counts))
    assert as_numbers(choose_frames(entry, numbered(counts))) == lists
    longer = as_numbers(choose_frames(entry, numbered({**counts, first: counts[first] + 40})))
    assert longer[first] != lists[first]
    backwards = {f"{99 - i}": name for i, name in enumerate(counts)}
    found = choose_frames(entry, numbered({new: counts[name] for new, name in backwards.items()}))
    assert not any(as_numbers(found)[new] == lists[name] for new, name in backwards.items())
    too_short = choose_frames(entry, numbered({**counts, "13_short": 49}))  # left out without drawing
    assert as_numbers(too_short) == lists


@pytest.mark.parametrize(
    ("name", "stride", "protocol"),
    [
        ("7scenes_mv-recon_seq-id-map-kf200", 200, ("fgq", "7scenes")),
        ("7scenes_mv-recon_seq-id-map-kf40", 40, None),
        ("DTU_mv-recon_seq-id-map-kf5", 5, ("fgq", "dtu")),
        ("ETH3D_mv-recon_seq-id-map-kf5", 5, ("fgq", "eth3d")),
        ("NRGBD_mv-recon_seq-id-map-kf100", 100, None),
        ("NRGBD_mv-recon_seq-id-map-kf500", 500, None),
    ],
)
@pytest.mark.parametrize("spare", ["one more frame", "as many as the stride"])
def test_strides(name: str, stride: int, protocol: tuple[str, str] | None, spare: str) -> None:
    lists = published(name)
    entry = ProtocolEntry(frames="stride", stride=stride, width=518)
    if protocol is not None:
        ours = load_card(ProtocolCard, protocol[0]).datasets[protocol[1]]
        assert (ours.frames, ours.stride, ours.at_most_half, ours.minimum) == ("stride", stride, False, 1)
        entry = ours
    extra = 1 if spare == "one more frame" else stride
    counts = {sequence: frames[-1] + extra for sequence, frames in lists.items()}
    assert as_numbers(choose_frames(entry, numbered(counts))) == lists
