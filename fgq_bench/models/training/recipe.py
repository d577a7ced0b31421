"""The training curriculum as data: phases whose knobs move linearly from a start to an end value."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

Ramp = tuple[float, float]  # value at the start and at the end of a phase


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one batch shape.

    ``studio`` is the share of scenes in fixed surroundings: relative pose is learned there first, because every
    frame shows where it stands, and is then carried over to random surroundings.
    """

    steps: int
    frames: int | tuple[int, ...]  # per sequence; several take turns
    batch: int  # sequences per step
    rate: Ramp  # learning rate
    studio: Ramp = (0.0, 0.0)  # share of scenes with fixed surroundings
    spread: Ramp = (1.0, 1.0)  # camera motion, relative to the data sets'
    rooms: Ramp = (0.0, 0.0)  # share of procedural-rooms; the rest is procedural-objects


@dataclass(frozen=True)
class Knobs:
    """Values of one step."""

    phase: Phase
    frames: int
    rate: float
    studio: float
    spread: float
    rooms: float


def knobs_at(recipe: tuple[Phase, ...], step: int) -> Knobs:
    """Knobs of ``step`` (0-based); raises IndexError past the end."""
    for phase in recipe:
        if step < phase.steps:
            progress = step / max(phase.steps - 1, 1)
            ramps = {f.name: getattr(phase, f.name) for f in fields(Knobs) if f.name not in ("phase", "frames")}
            frames = phase.frames if isinstance(phase.frames, int) else phase.frames[step % len(phase.frames)]
            return Knobs(
                phase, frames, **{name: start + (end - start) * progress for name, (start, end) in ramps.items()}
            )
        step -= phase.steps
    raise IndexError("step lies past the end of the recipe")


def total_steps(recipe: tuple[Phase, ...]) -> int:
    """Number of optimiser steps."""
    return sum(phase.steps for phase in recipe)


def truncate(recipe: tuple[Phase, ...], steps: int) -> tuple[Phase, ...]:
    """The first ``steps`` steps of a recipe; ramps keep their slope, so that a longer run continues a shorter one."""
    kept: list[Phase] = []
    for phase in recipe:
        left = steps - total_steps(tuple(kept))
        if left <= 0:
            break
        if left < phase.steps:
            last = knobs_at((phase,), left - 1)
            ends: dict[str, Any] = {
                name: (getattr(phase, name)[0], getattr(last, name)) for name in ("rate", "studio", "spread", "rooms")
            }
            phase = replace(phase, steps=left, **ends)
        kept.append(phase)
    return tuple(kept)
