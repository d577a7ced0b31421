"""The simulated schedule against cases that can be worked out by hand."""

from __future__ import annotations

import pytest

from tests.cluster_proof.schedule import Job, critical_path, makespan, table


def test_independent_jobs_divide_evenly() -> None:
    jobs = [Job(2.0)] * 8
    assert [makespan(jobs, workers) for workers in (1, 2, 4, 8, 16)] == [16, 8, 4, 2, 2]
    assert makespan(jobs, 4, 0.5) == 5


def test_a_calibration_is_waited_for_while_others_run() -> None:
    jobs = [Job(1.0, after="c"), Job(1.0, after="c"), Job(4.0), Job(3.0, makes="c")]
    assert critical_path(jobs) == 4
    assert makespan(jobs, 1) == 9
    assert makespan(jobs, 2) == 5  # c, 1, 1 beside 4
    assert makespan(jobs, 3) == 4


def test_the_table_says_what_binds() -> None:
    rows = table([Job(3.0, makes="c"), *[Job(1.0, after="c")] * 12], 0.0)
    assert [row["binds"] for row in rows[:4]] == ["work", "work", "critical path", "critical path"]
    assert rows[-1]["seconds"] == 4
    assert rows[0]["efficiency"] == pytest.approx(1)
