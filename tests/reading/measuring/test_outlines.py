"""Outlines: areas, which places of a lattice are inside, loops, clipping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.reading.measuring.arrays import winds
from workstation.reading.measuring import CannotMeasure
from workstation.reading.measuring.outlines import (
    Ellipse,
    Polygon,
    ellipse,
    freehand,
    inside_share,
    plane_through,
    signed_area,
    without_loops,
)

SQUARE = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
WHOLE = np.array([[1.0, 0, 0], [0, 1, 0]])


def star(seed: int, count: int, radius: float = 12.0) -> np.ndarray:
    """A simple polygon around 0, concave as a rule."""
    rng = np.random.default_rng(seed)
    # Less than half a turn between neighbours, else the sides may cross.
    turn = (np.arange(count) + rng.uniform(0.3, 0.7, count)) * 2 * np.pi / count
    return (rng.uniform(0.3, 1.0, count) * radius * np.stack([np.cos(turn), np.sin(turn)])).T


def places(cells: np.ndarray) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in cells}


def test_edges_and_corners_count_as_inside() -> None:
    assert places(Polygon(SQUARE).cells(WHOLE)) == {(a, b) for a in range(5) for b in range(5)}
    round_ = Ellipse(np.array([2.0, 0]), np.array([0, 1.0]))
    line = {(a, 0) for a in range(-2, 3)}
    assert places(round_.cells(WHOLE)) == line | {(0, 1), (0, -1)}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 40), st.floats(0, 360), st.floats(0.4, 2.5))
def test_a_polygon_holds_what_brute_force_says(
    seed: int, count: int, degrees: float, step: float
) -> None:
    corners = star(seed, count)
    turn = Rotation.from_euler("z", degrees, True).as_matrix()[:2, :2] @ np.diag([step, 1.3])
    to_flat = np.hstack([turn, [[0.37], [-1.21]]])
    a, b = np.meshgrid(np.arange(-50, 51), np.arange(-50, 51), indexing="ij")
    every = np.stack([a.ravel(), b.ravel()], axis=1)
    inside = winds(corners, every @ turn.T + to_flat[:, 2])
    assert places(Polygon(corners).cells(to_flat)) == places(every[inside])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 30), st.floats(0.5, 30), st.floats(0, 180), st.floats(0, 360))
def test_an_ellipse_holds_what_its_formula_says(
    one: float, two: float, degrees: float, lattice: float
) -> None:
    axis = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    across = np.array([-axis[1], axis[0]])
    shape = Ellipse(one * axis, two * across)
    turn = Rotation.from_euler("z", lattice, True).as_matrix()[:2, :2]
    to_flat = np.hstack([turn, [[0.31], [0.17]]])
    a, b = np.meshgrid(np.arange(-50, 51), np.arange(-50, 51), indexing="ij")
    every = np.stack([a.ravel(), b.ravel()], axis=1)
    uv = every @ turn.T + to_flat[:, 2]
    inside = (uv @ axis / one) ** 2 + (uv @ across / two) ** 2 <= 1
    assert places(shape.cells(to_flat)) == places(every[inside])
    assert shape.area == pytest.approx(np.pi * one * two)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(3, 30))
def test_clipping_halves_add_up(seed: int, count: int) -> None:
    corners = star(seed, count)
    low, high = np.array([-99.0, -99.0]), np.array([99.0, 99.0])
    left = inside_share(corners, low, np.array([1.5, 99.0]))
    right = inside_share(corners, np.array([1.5, -99.0]), high)
    assert left + right == pytest.approx(1.0)
    assert inside_share(corners, low, high) == pytest.approx(1.0)
    assert inside_share(corners, np.array([50.0, 50.0]), high) == 0.0


def test_an_overshoot_is_cut_off() -> None:
    hook = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10], [2, -10], [0, -10]])
    kept, cut = without_loops(hook)
    assert cut
    assert abs(signed_area(kept)) == pytest.approx(95.0)
    through_the_corner = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10], [0, -1], [1, -1]])
    kept, cut = without_loops(through_the_corner)
    assert cut
    assert abs(signed_area(kept)) == pytest.approx(100.0)
    eight = np.array([[0.0, 0], [10, 10], [10, 0], [0, 4]])
    kept, cut = without_loops(eight)
    assert cut and len(kept) == 3
    assert not without_loops(SQUARE)[1]


@settings(max_examples=30)
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.integers(0, 10**6))
def test_outlines_in_space_keep_their_area_and_place(angles: tuple[float, ...], seed: int) -> None:
    turn = Rotation.from_euler("xyz", angles, True)
    corners = star(seed, 12)
    there = turn.apply(np.pad(corners, ((0, 0), (0, 1)))) + np.array([30.0, -200.0, 55.0])
    normal = turn.apply([0.0, 0.0, 2.5])
    plane, shape, cut = freehand(there, normal)
    assert not cut
    assert shape.area == pytest.approx(abs(signed_area(corners)))
    assert np.allclose(plane.lifted(shape.corners), there)
    assert np.allclose(plane.normal, normal / 2.5)
    centre, one, two = turn.apply([[1.0, 2, 3], [6, 2, 3], [1, 4, 3]])
    plane, round_ = ellipse([centre, one, two], normal)
    assert round_.area == pytest.approx(10 * np.pi)
    assert np.allclose(np.abs(plane.off(plane.lifted(round_.corners))), 0)


@pytest.mark.parametrize(
    ("points", "normal", "words"),
    [
        ([[0, 0, 0], [5, 0, 0], [3, 3, 0]], [0, 0, 1], "perpendicular"),
        ([[0, 0, 0], [5, 0, 2], [0, 3, 0]], [0, 0, 1], "do not lie in the plane"),
        ([[0, 0, 0], [0, 0, 0], [0, 3, 0]], [0, 0, 1], "no area"),
        ([[0, 0, 0], [600, 0, 0], [0, 3, 0]], [0, 0, 1], "metre"),
        ([[0, 0, 0], [5, 0, 0], [0, 3, 0]], [0, 0, 0], "no direction"),
    ],
)
def test_ellipses_that_are_none_are_refused(
    points: list[list[float]], normal: list[float], words: str
) -> None:
    with pytest.raises(CannotMeasure, match=words):
        ellipse(points, normal)


def test_freehand_that_is_no_outline_is_refused() -> None:
    with pytest.raises(CannotMeasure, match="no area"):
        freehand([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [0, 0, 1])


def crosses(corners: np.ndarray) -> bool:
    """Whether any two sides cross, by the turn of their four ends."""

    def turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    sides = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))
    return any(
        turn(a, b, c) * turn(a, b, d) < -1e-6 and turn(c, d, a) * turn(c, d, b) < -1e-6
        for n, (a, b) in enumerate(sides)
        for c, d in sides[n + 1 :]
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 25), st.booleans())
def test_no_crossing_is_left_of_a_scribble(seed: int, count: int, on_pixels: bool) -> None:
    corners = np.random.default_rng(seed).uniform(0, 30, (count, 2))
    try:
        kept, cut = without_loops(corners.round() if on_pixels else corners)
    except CannotMeasure:
        return
    assert not crosses(kept)
    assert cut or len(kept) == count


def test_a_plane_has_right_handed_axes() -> None:
    for normal in ([0, 0, 1], [0, 1, 0], [1, 0, 0], [1, -2, 3]):
        plane = plane_through([1, 2, 3], normal)
        assert np.allclose(np.cross(plane.u, plane.v), normal / np.linalg.norm(normal))


def test_a_coil_is_no_outline() -> None:
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    ring = 20 * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    coil = 3 * np.stack([np.cos(30 * turn), np.sin(30 * turn), 0 * turn], axis=1)
    with pytest.raises(CannotMeasure, match="again and again"):
        freehand(ring + coil, [0, 0, 1])
