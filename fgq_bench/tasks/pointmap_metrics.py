"""Distances and normals between two point clouds: accuracy, completeness, normal consistency (spec: FGQ sec. 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgq_bench.tasks.alignment import nearest_points, search_threads

Array = NDArray[np.float64]
NEIGHBOURS = 30  # Open3D's default, the point itself included
CHUNK = 16384  # points whose neighbours are gathered at once: 12 MB


@dataclass(frozen=True)
class Cloud:
    """Points with the search tree and the normals that every comparison shares."""

    points: Array  # [N, 3] finite
    normals: Array  # [N, 3] unit, sign arbitrary
    tree: cKDTree  # of ``points[rows]``
    rows: NDArray[np.intp]  # [M] rows of ``points``: all of them, save copies of one point beyond ``NEIGHBOURS``


def build_tree(points: Array) -> cKDTree:
    """Search tree of ``points`` [N, 3], split at midpoints: from off a surface 2-4 times faster than split at medians."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def spatial_order(points: Array) -> NDArray[np.intp]:
    """Rows [N] of ``points`` [N, 3] that put neighbours in space next to each other in memory, where searches are fast."""
    return build_tree(points).indices


def distinct_rows(points: Array, copies: int = NEIGHBOURS) -> NDArray[np.intp]:
    """Rows [M] in ascending order that keep at most ``copies`` equal points of ``points`` [N, 3].

    Nearest neighbours, and patches of up to ``copies`` neighbours, stay what they are. Without this a collapsed
    prediction (millions of points at a few places) would make every search walk through all copies.
    """
    order = spatial_order(points)  # equal points follow each other wherever they fill more than a leaf
    changes = (points[order[1:]] != points[order[:-1]]).any(-1)
    position = np.arange(len(order))
    run_start = np.maximum.accumulate(np.where(np.concatenate([[True], changes]), position, 0))
    return np.sort(order[position - run_start < copies])


def build_cloud(points: Array, normals: Array | None = None) -> Cloud:
    """Index ``points`` [N, 3], N > 0; ``normals`` [N, 3] are estimated where None."""
    rows = distinct_rows(points)
    tree = build_tree(points[rows])
    return Cloud(points, estimate_normals(points, tree) if normals is None else normals, tree, rows)


def estimate_normals(points: Array, tree: cKDTree, neighbours: int = NEIGHBOURS) -> Array:
    """Normals [N, 3] at ``points`` [N, 3]: the direction in which their neighbours in ``tree`` vary least (local PCA)."""
    count = min(neighbours, tree.n)
    normals = np.empty_like(points)
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        _, index = tree.query(points[part], count, workers=search_threads(len(points[part])))
        patch = np.take(tree.data, index.reshape(-1, count), 0)  # [n, k, 3]
        patch -= np.einsum("nki->ni", patch)[:, None] / count
        _, vectors = np.linalg.eigh(patch.transpose(0, 2, 1) @ patch)
        normals[part] = vectors[..., 0]
    return normals


def nearest(source: Cloud, target: Cloud) -> tuple[Array, Array]:
    """Distance [N] from each source point to its nearest target point, and |cosine| [N] of their two normals.

    Accuracy is prediction to ground truth, completeness the other way round.
    """
    distance, index = nearest_points(target.tree, source.points)
    normals = target.normals[target.rows[index]]
    return distance, np.abs(np.einsum("ni,ni->n", source.normals, normals))
