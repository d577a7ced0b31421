"""Which frames are compared, and what a pair's errors say."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fgq_bench.geometry_checks.pairs import OFFSETS, Outcome, PairError, pairs, windows
from fgq_bench.geometry_checks.verdict import judge_pairs, suspicious_frames


@pytest.mark.parametrize("frames", [25, 40, 100, 1000])
def test_windows_are_at_the_beginning_in_the_middle_and_at_the_end(frames: int) -> None:
    first, middle, last = ([int(name) for name in window] for window in windows([str(i) for i in range(frames)]))
    assert first[0] == 0
    assert abs((middle[0] + middle[-1]) / 2 - (frames - 1) / 2) <= 1
    assert last[-1] == frames - 1
    for window in (first, middle, last):
        steps = [b - a for a, b in pairwise(window)]
        assert steps[0] == 1
        assert len(window) <= len(OFFSETS)
        assert all(step >= 1 for step in steps)


def test_a_windows_steps_grow() -> None:
    """ScanNet's frames are 20 apart already, a video's camera hardly moves from one to the next."""
    assert windows([str(i) for i in range(1000)])[0] == ["0", "1", "3", "6", "10", "15", "21", "28"]


def test_all_frames_of_a_short_sequence_are_compared_in_their_order() -> None:
    """CO3D's set lists are shuffled; numbers count as numbers."""
    assert windows([f"img{n}.png" for n in (10, 2, 9, 1)]) == [[f"img{n}.png" for n in (1, 2, 9, 10)]]
    assert [len(window) for window in windows([str(i) for i in range(24)])] == [24]


def test_every_frame_has_several_partners() -> None:
    assert pairs(2) == [(0, 1)]
    found = pairs(8)
    assert len(found) == len(set(found)) == 7 + 6 + 5
    assert all(sum(frame in pair for pair in found) >= 3 for frame in range(8))


def error(read: float, inverted: float, still: float, frames: tuple[str, str] = ("a", "b"), noise: float = 2.5) -> PairError:  # fmt: skip
    return PairError(frames, 100, read, inverted, still, noise)


@pytest.mark.parametrize(
    ("read", "inverted", "still", "outcome"),
    [
        (0.3, 40.0, 30.0, "fits"),
        (4.3, 248.0, 120.0, "fits"),  # ScanNet: imprecise poses of frames far apart
        (21.2, 228.4, 147.0, "undecided"),  # 7-Scenes, frames 800 and 900: right, and imprecise
        (0.2, 0.5, 2.4, "undecided"),  # video: the camera hardly moved
        (4.0, 5.0, 10.0, "undecided"),  # half a degree
        (248.0, 4.3, 120.0, "contradicts"),
        (60.0, 70.0, 80.0, "contradicts"),
    ],
)
def test_pairs_are_judged_by_contrast(read: float, inverted: float, still: float, outcome: Outcome) -> None:
    assert error(read, inverted, still).outcome(0.25) == outcome


def test_nothing_seen_in_common_decides_nothing() -> None:
    assert PairError(("a", "b"), 0, float("inf"), 1, 1, 0.01).outcome(0.5) == "undecided"


def test_one_mismatched_pair_is_no_alarm() -> None:
    """Both frames fit others: the pair was mismatched."""
    names = [(str(a), str(b)) for a, b in pairs(6)]
    errors = [error(60, 70, 80, pair) if pair == ("2", "3") else error(0.3, 40, 30, pair) for pair in names]
    verdict = judge_pairs("epipolar", errors, "trouble")
    assert (verdict.state, verdict.fitting, verdict.contradicting) == ("ok", len(names) - 1, 1)


def test_a_wrong_frame_is_named_with_its_worst_pair() -> None:
    names = [(str(a), str(b)) for a, b in pairs(8)]
    errors = [
        error(60 + int(a) + int(b), 70, 80, (a, b)) if "5" in (a, b) else error(0.3, 40, 30, (a, b)) for a, b in names
    ]
    verdict = judge_pairs("epipolar", errors, "trouble")
    assert (verdict.state, verdict.why) == ("suspicious", "trouble: frame 5")
    assert verdict.worst is not None
    assert verdict.worst.frames == ("5", "7")


def test_the_frame_with_most_contradictions_comes_first() -> None:
    wrong = [error(60, 70, 80, pair) for pair in (("0", "1"), ("0", "2"), ("0", "3"))]
    assert suspicious_frames([error(0.3, 40, 30, ("1", "2"))], wrong) == ["0", "1", "2", "3"]
    assert suspicious_frames([error(0.3, 40, 30, ("1", "2"))] * 2, wrong) == ["0", "3"]
