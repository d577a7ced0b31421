"""Scenes of the coming steps, drawn ahead of their use: in other processes where training is faster than one can draw."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from fgq_bench.loaders.procedural_scene import SceneArrays
from fgq_bench.models.training.batches import draw_batch
from fgq_bench.models.training.recipe import Phase, knobs_at, total_steps

AHEAD = 4  # batches in the making, per process


def draw_ahead(recipe: tuple[Phase, ...], seed: int, start: int, workers: int) -> Iterator[SceneArrays]:
    """The scenes of steps ``start``, ``start`` + 1, ... to the end of ``recipe``; the same whatever ``workers`` is.

    With 0 they are drawn here when they are asked for.
    """
    steps = range(start, total_steps(recipe))
    if not workers:
        yield from (draw_batch(step, knobs_at(recipe, step), seed) for step in steps)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
        waiting: deque[Future[SceneArrays]] = deque()
        for step in steps:
            waiting.append(pool.submit(draw_batch, step, knobs_at(recipe, step), seed))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
