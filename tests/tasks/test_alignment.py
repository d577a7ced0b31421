"""Umeyama and ICP: known transforms, the official metric code, Open3D, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from fgq_bench.tasks.alignment import IDENTITY, Similarity, icp, umeyama

Array = NDArray[np.float64]
TURN = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()


def surface() -> tuple[Array, Array]:
    """A wavy patch [400, 3] and the same patch turned by 0.02 rad, shifted and made noisy."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 400))
    points = np.stack([x, y, 0.3 * np.sin(3 * x) * np.cos(2 * y)], -1)
    axis = np.array([1, 2, 3]) / np.sqrt(14)
    moved = points @ Rotation.from_rotvec(0.02 * axis).as_matrix().T + [0.03, -0.02, 0.04]
    return points, moved + rng.normal(0, 0.01, (400, 3))


def random_points(count: int = 50) -> Array:
    return np.random.default_rng(1).normal(size=(count, 3))


def assert_same(left: Similarity, right: Similarity, tolerance: float = 1e-10) -> None:
    assert left.scale == pytest.approx(right.scale, abs=tolerance)
    np.testing.assert_allclose(left.rotation, right.rotation, atol=tolerance)
    np.testing.assert_allclose(left.translation, right.translation, atol=tolerance)


def test_umeyama_matches_official(golden_metrics: dict[str, Any]) -> None:
    golden = golden_metrics["umeyama"]
    found = umeyama(np.array(golden["src"]), np.array(golden["dst"]), with_scale=True)
    assert_same(found, Similarity(golden["scale"], np.array(golden["R"]), np.array(golden["t"])), 1e-6)


@pytest.mark.parametrize("with_scale", [True, False], ids=["sim3", "se3"])
def test_umeyama_recovers_a_known_transform(with_scale: bool) -> None:
    truth = Similarity(2.5 if with_scale else 1.0, TURN, np.array([10.0, -20.0, 1e3]))
    source = random_points()
    assert_same(umeyama(source, truth.apply(source), with_scale=with_scale), truth, 1e-9)


def test_umeyama_is_the_least_squares_optimum() -> None:
    source = random_points()
    target = Similarity(0.5, TURN, np.ones(3)).apply(source) + 0.1 * random_points()[::-1]
    best = umeyama(source, target, with_scale=True)

    def residual(s: Similarity) -> float:
        return float(np.square(s.apply(source) - target).sum())

    for axis in np.eye(3):
        for step in (-0.01, 0.01):
            turned = Rotation.from_rotvec(step * axis).as_matrix() @ best.rotation
            assert residual(Similarity(best.scale, turned, best.translation)) > residual(best)
            assert residual(Similarity(best.scale, best.rotation, best.translation + step * axis)) > residual(best)
            assert residual(Similarity(best.scale + step, best.rotation, best.translation)) > residual(best)


def test_umeyama_never_reflects() -> None:
    source = random_points()
    found = umeyama(source, source * [1, 1, -1], with_scale=True)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert 0 < found.scale < 1


def test_umeyama_on_a_plane_is_exact_and_proper() -> None:
    source = random_points() * [1, 1, 0]
    truth = Similarity(3.0, TURN, np.zeros(3))
    assert_same(umeyama(source, truth.apply(source), with_scale=True), truth)


LINE = np.outer(np.arange(5.0), [1.0, 2.0, 3.0]) + 0.1
DEGENERATE = {
    "coincide": (np.full((5, 3), 0.1), random_points(5)),
    "rotation is not unique": (LINE, random_points(5)),
    "lies on a line": (random_points(5), np.full((5, 3), 0.1)),
    "at least 3": (random_points(2), random_points(2)),
    "finite": (np.full((5, 3), np.nan), random_points(5)),
    r"arrays \[N, 3\]": (random_points(5), random_points(4)),
}


@pytest.mark.parametrize("message", DEGENERATE)
def test_umeyama_names_what_is_degenerate(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        umeyama(*DEGENERATE[message], with_scale=True)


def test_umeyama_on_a_line_leaves_no_residual() -> None:
    target = Similarity(2.0, TURN, np.ones(3)).apply(LINE)
    found = umeyama(LINE, target, with_scale=True, unique=False)
    np.testing.assert_allclose(found.apply(LINE), target, atol=1e-9)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_after_composes() -> None:
    first, second = Similarity(2.0, TURN, np.ones(3)), Similarity(0.3, TURN.T, np.array([1.0, 2.0, 3.0]))
    points = random_points()
    np.testing.assert_allclose(second.after(first).apply(points), second.apply(first.apply(points)), atol=1e-12)


OPEN3D = {  # registration_icp of Open3D 0.20.0 on surface(), by threshold: transformation, fitness, inlier_rmse
    0.1: (
        [
            [0.999826110553, 0.015785468412, -0.009928123896, -0.027996791544],
            [-0.015734224768, 0.999862590917, 0.005218568314, 0.019263087385],
            [0.010009137226, -0.005061449527, 0.999937097472, -0.039712302435],
        ],
        1.0,
        0.017055926852719366,
    ),
    0.02: (
        [
            [0.999823714404, 0.016146336749, -0.009583106253, -0.027683041209],
            [-0.016079519434, 0.999846149803, 0.007008978474, 0.019152884985],
            [0.009694801217, -0.006853651148, 0.999929516664, -0.039953373971],
        ],
        0.745,
        0.01333932610363075,
    ),
}


@pytest.mark.parametrize("threshold", OPEN3D)
def test_icp_matches_open3d(threshold: float) -> None:
    target, source = surface()
    matrix, fitness, rmse = OPEN3D[threshold]
    found = icp(source, cKDTree(target), threshold)
    assert_same(found.transform, Similarity(1.0, np.array(matrix)[:, :3], np.array(matrix)[:, 3]), 1e-9)
    assert (found.fitness, found.rmse) == pytest.approx((fitness, rmse), abs=1e-9)


def test_icp_recovers_a_known_motion_exactly() -> None:
    target, _ = surface()
    truth = Similarity(1.0, Rotation.from_rotvec([0.01, 0.02, -0.01]).as_matrix(), np.array([0.01, 0.0, -0.01]))
    inverse = Similarity(1.0, truth.rotation.T, -truth.rotation.T @ truth.translation)
    found = icp(inverse.apply(target), cKDTree(target), 0.1)
    assert found.stopped == "converged"
    assert_same(found.transform, truth, 1e-9)
    assert found.fitness == 1
    assert found.rmse == pytest.approx(0, abs=1e-9)


def test_icp_ignores_points_beyond_the_threshold() -> None:
    target, _ = surface()
    outliers = np.random.default_rng(2).uniform(3, 4, (200, 3))
    found = icp(np.concatenate([target + 0.01, outliers]), cKDTree(target), 0.1)
    np.testing.assert_allclose(found.transform.translation, -0.01, atol=1e-6)
    assert found.fitness == pytest.approx(400 / 600)


@pytest.mark.parametrize("near", [0, 2])
def test_icp_says_when_too_few_points_correspond(near: int) -> None:
    target, _ = surface()
    source = np.concatenate([target[:near], target[near:] + 100])
    found = icp(source, cKDTree(target), 0.1)
    assert found.stopped == "too few correspondences"
    assert found.fitness == near / 400
    assert found.rmse == 0
    assert_same(found.transform, IDENTITY)


def test_icp_stops_at_its_iteration_limit() -> None:
    target, source = surface()
    found = icp(source, cKDTree(target), 0.1, max_iterations=1)
    assert (found.stopped, found.iterations) == ("iteration limit", 1)


def test_icp_of_a_unit_is_icp_of_points_in_that_unit() -> None:
    source, target = surface()
    metres = icp(source, cKDTree(target), 0.1, unit=1e-3)
    millimetres = icp(1000 * source, cKDTree(1000 * target), 100)
    assert metres.iterations == millimetres.iterations > icp(source, cKDTree(target), 0.1, tolerance=1e-3).iterations
    np.testing.assert_allclose(metres.transform.apply(source), millimetres.transform.apply(1000 * source) / 1000, atol=1e-9)  # fmt: skip
