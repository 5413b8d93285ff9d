"""Diameters and boxes of bodies known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.findings.shape import in_plane_axes, points_box, tracking_uid
from analysis.geometry import Grid


def grid(spacing: tuple[float, float, float]) -> Grid:
    return Grid((40, 60, 60), np.diag([*spacing, 1.0]))


def ellipsoid(where: Grid, semi: tuple[float, float, float], turn: float = 0.0) -> np.ndarray:
    """Soft shares of an ellipsoid around the middle, turned in the slice plane."""
    k, j, i = np.indices(where.shape)
    p = where.to_lps(np.stack([i, j, k], axis=-1)) - where.centre
    x = p[..., 0] * np.cos(turn) + p[..., 1] * np.sin(turn)
    y = -p[..., 0] * np.sin(turn) + p[..., 1] * np.cos(turn)
    r = np.sqrt((x / semi[0]) ** 2 + (y / semi[1]) ** 2 + (p[..., 2] / semi[2]) ** 2)
    return np.clip(0.5 - (r - 1) * min(semi) / where.spacing[0], 0, 1)


@given(st.floats(5.0, 14.0), st.floats(0.5, 1.0), st.floats(0.0, np.pi))
@settings(max_examples=20, deadline=None)
def test_axes_of_an_ellipse_in_any_direction(semi: float, ratio: float, turn: float) -> None:
    axes = in_plane_axes(ellipsoid(grid((0.7, 0.7, 1.5)), (semi, semi * ratio, 9.0), turn),
                         grid((0.7, 0.7, 1.5)))
    assert axes.long_mm == pytest.approx(2 * semi, abs=0.8)
    if ratio < 0.9:  # in a near circle the two may swap
        assert axes.short_mm == pytest.approx(2 * semi * ratio, abs=0.8)


def test_axes_are_those_of_the_largest_slice() -> None:
    where = grid((1.0, 1.0, 2.0))
    shares = np.zeros(where.shape)
    shares[10, 10:20, 10:15] = 1
    shares[11, 10:30, 10:15] = 1
    axes = in_plane_axes(shares, where)
    assert axes.slice_index == 11
    assert axes.long_mm == pytest.approx(np.hypot(19.5, 4.5), abs=1.0)


def test_box_is_cut_at_the_grid_and_none_outside() -> None:
    where = grid((1.0, 1.0, 1.0))
    assert points_box(np.array([[2.0, 30.0, 5.0]]), where, 4.0) == ((1, 26, 0), (10, 35, 7))
    assert points_box(np.array([[500.0, 30.0, 5.0]]), where, 4.0) is None


def test_tracking_uid_is_stable_and_valid() -> None:
    uid = tracking_uid("1.2.3", "Lung nodule", "(1.0, 2.0, 3.0)")
    assert uid == tracking_uid("1.2.3", "Lung nodule", "(1.0, 2.0, 3.0)")
    assert uid != tracking_uid("1.2.3", "Lung nodule", "(1.0, 2.0, 3.1)")
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
