"""The experiment's answers as plain numbers: value, lower and upper end of every comparison, by measure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fgq_bench.fisher_validity.injection import MEASURES
from fgq_bench.fisher_validity.predictors import ALL, PERMUTED, VARIANCE
from fgq_bench.fisher_validity.ranking import CEILING, Array, Ranked, interval
from fgq_bench.task_losses import TASKS

Row = dict[str, dict[str, float]]  # measure -> value, ci_low, ci_high
Lookup = Callable[[str], Array]  # name of a ranking -> samples [1 + R, measures]


def summarize(ranked: Ranked, estimators: list[str]) -> dict[str, dict[str, Row]]:
    """Correlations by ranking, and the comparisons that decide.

    - ``correlation``: every estimator's Fisher information of the measure's own task, plain and with tokens weighted
      by their noise, and of all tasks (FGQ's weights); the variance; both controls.
    - ``over_variance``: own task's Fisher minus activation variance.
    - ``over_other_tasks``: own task's Fisher minus the mean of the other tasks'.
    - ``by_task``: every task's Fisher against every measure.
    """
    of = ranked.of
    correlation: dict[str, Row] = {}
    over_variance: dict[str, Row] = {}
    over_others: dict[str, Row] = {}
    by_task: dict[str, Row] = {}
    for estimator in estimators:
        own = _own(of, estimator)
        correlation[f"{estimator}, own task"] = _row(own)
        correlation[f"{estimator}, own task by token noise"] = _row(_own(of, f"{estimator}*"))
        correlation[f"{estimator}, all tasks"] = _row(of(f"{estimator}:{ALL}"))
        over_variance[estimator] = _row(own - of(VARIANCE))
        tasks = sum(of(f"{estimator}:{task}") for task in TASKS)
        over_others[estimator] = _row(own - (tasks - own) / (len(TASKS) - 1))
        by_task |= {f"{estimator}, {task}": _row(of(f"{estimator}:{task}")) for task in TASKS}
    correlation |= {name: _row(of(name)) for name in (VARIANCE, PERMUTED, CEILING)}
    return {
        "correlation": correlation, "over_variance": over_variance, "over_other_tasks": over_others, "by_task": by_task,
    }  # fmt: skip


def contrast(ranked: Ranked, estimators: list[str]) -> dict[str, Row]:
    """Damage of the eighth of a block's channels that a ranking puts highest over that of the lowest eighth."""

    def of(name: str) -> Array:
        samples = ranked.octiles[:, ranked.names.index(name)]  # [1 + R, measures, octiles]
        ratio: Array = samples[..., -1] / samples[..., 0]
        return ratio

    found = {f"{estimator}, own task": _row(_own(of, estimator)) for estimator in estimators}
    return found | {name: _row(of(name)) for name in (VARIANCE, PERMUTED)}


def _own(of: Lookup, estimator: str) -> Array:
    """Samples of the ranking by each measure's own task."""
    return np.stack([of(f"{estimator}:{task}")[:, index] for index, task in enumerate(MEASURES.values())], 1)


def _row(samples: Array) -> Row:
    values = (interval(samples[:, index]) for index in range(len(MEASURES)))
    return {
        name: dict(zip(("value", "ci_low", "ci_high"), each, strict=True))
        for name, each in zip(MEASURES, values, strict=True)
    }
