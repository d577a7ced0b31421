"""Bring one point set onto another: Umeyama's closed form where points correspond, ICP where they do not.

Everything is float64 NumPy; a transform maps source to target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
RANK_TOLERANCE = 1e-12  # relative size below which a spread counts as zero
THREADED = 10_000  # points in a search from which threads pay


@dataclass(frozen=True)
class Similarity:
    """The map ``x -> scale * rotation @ x + translation``; rigid where ``scale`` is 1."""

    scale: float
    rotation: Array  # [3, 3], determinant +1
    translation: Array  # [3], target units

    def apply(self, points: Array) -> Array:
        """Transformed points [N, 3]."""
        moved: Array = self.scale * points @ self.rotation.T + self.translation
        return moved

    def after(self, first: Similarity) -> Similarity:
        """The transform that applies ``first``, then this one."""
        translation = self.scale * self.rotation @ first.translation + self.translation
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, translation)


IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))


def umeyama(source: Array, target: Array, *, with_scale: bool, unique: bool = True) -> Similarity:
    """Least-squares transform of ``source`` onto ``target`` (Umeyama 1991, eqs. 34-43); never a reflection.

    Args:
        source: points [N, 3]; row i belongs to row i of ``target``.
        target: points [N, 3].
        with_scale: Sim(3) if True, else SE(3).
        unique: refuse points on a line, whose best rotation is one of many. False returns one of them, which is
            enough where only the residual counts.

    Raises:
        ValueError: on other shapes, fewer than 3 points, non-finite numbers, or degenerate points.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise ValueError(f"umeyama needs two arrays [N, 3], got {source.shape} and {target.shape}")
    if len(source) < 3:
        raise ValueError(f"umeyama needs at least 3 points, got {len(source)}")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("umeyama needs finite points; remove the others first")
    mean_source, mean_target = source.mean(0), target.mean(0)
    centred = source - mean_source
    variance = float(np.square(centred).sum() / len(source))
    if variance <= (RANK_TOLERANCE * np.abs(source).max()) ** 2:
        raise ValueError("degenerate source: all its points coincide, so no scale or rotation is defined")
    u, singular, vt = np.linalg.svd((target - mean_target).T @ centred / len(source))
    if unique and singular[1] <= RANK_TOLERANCE * singular[0]:
        raise ValueError("degenerate points: source or target lies on a line, so the rotation is not unique")
    signs = np.array([1.0, 1.0, 1.0 if np.linalg.det(u @ vt) > 0 else -1.0])
    rotation: Array = (u * signs) @ vt
    scale = float(singular @ signs) / variance if with_scale else 1.0
    return Similarity(scale, rotation, mean_target - scale * rotation @ mean_source)


def search_threads(points: int) -> int:
    """Threads for a search of that many points: all cores (-1), or one where starting threads costs more than it saves."""
    return -1 if points >= THREADED else 1


def nearest_points(tree: cKDTree, points: Array, within: float = np.inf) -> tuple[Array, NDArray[np.intp]]:
    """Distance [N] and row [N] of the tree's point nearest to each of ``points`` [N, 3]; infinite beyond ``within``."""
    found = tree.query(points, distance_upper_bound=within, workers=search_threads(len(points)))
    return cast(tuple[Array, NDArray[np.intp]], found)


@dataclass(frozen=True)
class IcpResult:
    """Where ICP ended, with Open3D's two figures of merit, and why it ended there."""

    transform: Similarity  # rigid
    fitness: float  # share of source points with a target point nearer than the threshold
    rmse: float  # of the distances of those points, target units; 0 where there are none
    iterations: int
    stopped: Literal["converged", "iteration limit", "too few correspondences"]


def icp(
    source: Array,  # [N, 3]
    target: cKDTree,  # of points [M, 3]
    threshold: float,  # greatest distance of a correspondence, target units
    *,
    max_iterations: int = 30,
    tolerance: float = 1e-6,
    unit: float = 1.0,
) -> IcpResult:
    """Rigid point-to-point ICP from the identity, with the steps and defaults of Open3D's ``registration_icp``.

    As there, "relative" fitness and RMSE are plain differences between two iterations: both must be below
    ``tolerance``, the RMSE's counted in ``unit`` (of the points' own): Open3D stops earlier in metres than in millimetres. Correspondences that do not fix a rigid motion (fewer than 3, or on a line) end it; the last
    transform is returned and ``stopped`` says so.
    """
    transform, moved = IDENTITY, source
    distance, index = nearest_points(target, moved, threshold)
    fitness, rmse = _quality(distance)
    for iteration in range(max_iterations):
        near = np.isfinite(distance)
        try:
            update = umeyama(moved[near], target.data[index[near]], with_scale=False)
        except ValueError:
            return IcpResult(transform, fitness, rmse, iteration, "too few correspondences")
        transform, moved = update.after(transform), update.apply(moved)
        distance, index = nearest_points(target, moved, threshold)
        before, (fitness, rmse) = (fitness, rmse), _quality(distance)
        if abs(fitness - before[0]) < tolerance and abs(rmse - before[1]) < tolerance * unit:
            return IcpResult(transform, fitness, rmse, iteration + 1, "converged")
    return IcpResult(transform, fitness, rmse, max_iterations, "iteration limit")


def _quality(distance: Array) -> tuple[float, float]:
    """Fitness and RMSE of nearest-neighbour distances [N]; infinite means beyond the threshold."""
    near = distance[np.isfinite(distance)]
    if not len(near):
        return 0.0, 0.0
    return len(near) / len(distance), float(np.sqrt(np.square(near).mean()))
