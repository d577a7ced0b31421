"""Score scenes: predict once per sequence, then every task looks at the same prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from fgq_bench.errors import UserError
from fgq_bench.loaders.scene import Scene
from fgq_bench.tasks.base import SequencePrediction, SequenceScore, Task

Predictor = Callable[[Scene], SequencePrediction]


def fields_read(tasks: Iterable[Task]) -> frozenset[str]:
    """Names of the predictions that ``tasks`` need."""
    return frozenset().union(*(task.reads for task in tasks))


def score_sequences(
    scenes: Iterable[Scene], tasks: list[Task], predictor: Predictor, reference: Predictor
) -> dict[str, list[SequenceScore]]:
    """Scores by task name; ``reference`` (full precision) is only asked where a task needs it."""
    scores: dict[str, list[SequenceScore]] = {task.name: [] for task in tasks}
    for scene in scenes:
        prediction = predictor(scene)
        truth = reference(scene) if any(task.needs_reference for task in tasks) else None
        for task in tasks:
            scores[task.name].append(_finite(task, task.score(scene, prediction, truth)))
    return scores


def _finite(task: Task, score: SequenceScore) -> SequenceScore:
    """``score``; raises UserError for a metric that is no number: there is no mean over sequences then."""
    for name, value in score.values.items():
        if not math.isfinite(value):
            raise UserError(f"sequence {score.sequence}: {task.name}.{name} is {value}: a prediction is not finite")
    return score
