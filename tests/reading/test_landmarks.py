"""The rigid fit to landmark pairs: recovers what is true, refuses what leaves it open."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from workstation.reading.landmarks import FitRefused, Residuals, fit_rigid

number = st.floats(-1, 1, allow_nan=False)


def rigid(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.pi * np.array(turn)).as_matrix()
    matrix[:3, 3] = 300 * np.array(shift)
    return matrix


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@given(
    st.tuples(number, number, number),
    st.tuples(number, number, number),
    st.integers(3, 12),
    st.integers(0, 2**32 - 1),
)
def test_a_random_motion_is_recovered(
    turn: tuple[float, float, float], shift: tuple[float, float, float], count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Three corners that are never on a line, and others anywhere.
    moving = np.vstack([np.diag([60.0, 60.0, 60.0]), rng.uniform(-100, 100, (count - 3, 3))])
    truth = rigid(turn, shift)
    fitted = fit_rigid(apply(truth, moving), moving)
    assert np.allclose(fitted[:3, :3] @ fitted[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(fitted[:3, :3]) == pytest.approx(1)
    assert np.abs(apply(fitted, moving) - apply(truth, moving)).max() < 1e-9


@given(st.integers(0, 2**32 - 1))
def test_with_noise_no_other_motion_near_by_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moving = rng.uniform(-80, 80, (8, 3))
    truth = rigid(tuple(rng.uniform(-0.5, 0.5, 3)), tuple(rng.uniform(-1, 1, 3)))
    reference = apply(truth, moving) + rng.normal(0, 1.5, (8, 3))
    fitted = fit_rigid(reference, moving)

    def squares(matrix: np.ndarray) -> float:
        return float(((apply(matrix, moving) - reference) ** 2).sum())

    assert squares(fitted) <= squares(truth) + 1e-9
    for _ in range(5):
        step = rigid(tuple(rng.normal(0, 1e-3, 3)), tuple(rng.normal(0, 1e-3, 3)))
        assert squares(fitted) <= squares(step @ fitted) + 1e-9
    # The noise has 1.5 mm along each axis, and six parameters took some of it up.
    assert np.sqrt(squares(fitted) / 8) < 5


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "at least 3"),
        ([[0, 0, 0], [10, 0, 0]], "at least 3"),
        ([[0, 0, 0], [10, 0, 0], [30, 0, 0]], "on a line"),
        ([[0, 0, 0], [50, 0.5, 0], [100, 0, 0], [150, 0, 0.5]], "on a line"),
        ([[5, 5, 5]] * 4, "on a line"),
    ],
)
def test_pairs_that_leave_a_turn_open_are_refused(points: list[list[float]], words: str) -> None:
    with pytest.raises(FitRefused, match=words):
        fit_rigid(points, points)
    triangle = [[0, 0, 0], [50, 0, 0], [0, 50, 0], [9, 9, 9]][: len(points)]
    with pytest.raises(FitRefused, match=words):
        fit_rigid(triangle, points)


def test_mirrored_pairs_give_a_turn_and_large_residuals_never_a_mirror() -> None:
    moving = np.array([[0.0, 0, 0], [60, 0, 0], [0, 60, 0], [0, 0, 60]])
    fitted = fit_rigid(moving * [-1, 1, 1], moving)
    assert np.linalg.det(fitted[:3, :3]) == pytest.approx(1)


def test_residuals_leave_out_what_has_no_counterpart() -> None:
    left = Residuals(np.array([3.0, np.nan, 4.0])).as_json()
    assert left == {
        "count": 2, "mean_mm": 3.5, "rms_mm": pytest.approx(np.sqrt(12.5)), "max_mm": 4.0
    }  # fmt: skip
    assert Residuals(np.array([np.nan])).as_json()["rms_mm"] is None
