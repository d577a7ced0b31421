"""The task interface: cached predictions and a scene to numbers per sequence; then one aggregation for all tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fgq_bench.loaders.scene import Scene

LARGE = 1e6  # stands for an error (metres, degrees, relative) that a broken prediction leaves undefined


@dataclass
class SequencePrediction:
    """What a model predicted for one sequence, as the cache holds it."""

    pose_enc: Tensor | None = None  # [S, 9] fp32
    depth: Tensor | None = None  # [S, H, W] fp16
    points: Tensor | None = None  # [S, H, W, 3] fp16


@dataclass(frozen=True)
class Metric:
    """Name, unit and direction of one number of a task."""

    name: str
    unit: str  # fraction, degrees, metres, relative, scene radii
    higher_is_better: bool


@dataclass
class SequenceScore:
    """Metrics of one sequence; ``weight`` is its share in a pooled mean (pairs, valid pixels)."""

    sequence: str
    category: str
    weight: float
    values: dict[str, float]


class Task(ABC):
    """Predict, then score: a task sees predictions and ground truth, never a model.

    ``reads`` names the fields of ``SequencePrediction`` it needs; ``needs_reference`` asks for the full-precision
    predictions of the same frames.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    reads: ClassVar[frozenset[str]]
    needs_reference: ClassVar[bool] = False
    alignment: ClassVar[str]  # how predictions are brought to the ground truth, as every result states
    unit: ClassVar[float] = 1.0  # metres of the unit in which lengths are shown (stored are metres)
    weighted_by: ClassVar[str]  # what ``SequenceScore.weight`` counts
    algorithm: ClassVar[int] = 1  # raised when the code changes meaning

    @abstractmethod
    def score(
        self, scene: Scene, prediction: SequencePrediction, reference: SequencePrediction | None
    ) -> SequenceScore:
        """Score one sequence."""
