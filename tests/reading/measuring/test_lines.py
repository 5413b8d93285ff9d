"""Lengths, RECIST axes, angles: known answers, and what any rotation must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from workstation.reading.measuring import CannotMeasure, lines

turns = st.tuples(*[st.floats(-180, 180)] * 3).map(lambda a: Rotation.from_euler("xyz", a, True))
shifts = st.tuples(*[st.floats(-300, 300)] * 3)


def moved(points: list[list[float]], turn: Rotation, shift: tuple[float, ...]) -> np.ndarray:
    return turn.apply(np.array(points, dtype=float)) + np.array(shift)


def test_a_length_is_the_distance_in_space() -> None:
    assert lines.length([0, 0, 0], [3, 4, 12]) == 13.0
    with pytest.raises(CannotMeasure, match="same point"):
        lines.length([1, 2, 3], [1, 2, 3])


@settings(max_examples=40)
@given(turns, shifts, st.floats(0.0, 180.0), st.floats(1, 200), st.floats(1, 200))
def test_an_angle_is_what_it_was_drawn_as(
    turn: Rotation, shift: tuple[float, ...], degrees: float, one: float, two: float
) -> None:
    rad = np.radians(degrees)
    points = [[one, 0, 0], [0, 0, 0], [two * np.cos(rad), two * np.sin(rad), 0]]
    assert lines.angle(*moved(points, turn, shift)) == pytest.approx(degrees, abs=1e-6)


def test_an_arm_without_length_has_no_angle() -> None:
    with pytest.raises(CannotMeasure, match="no length"):
        lines.angle([0, 0, 0], [0, 0, 0], [1, 0, 0])


@settings(max_examples=40)
@given(turns, shifts, st.floats(2, 100), st.floats(2, 100), st.floats(-4.9, 4.9))
def test_recist_axes_in_any_order_and_place(
    turn: Rotation, shift: tuple[float, ...], one: float, two: float, tilt: float
) -> None:
    rad = np.radians(90 + tilt)
    half = np.array([np.cos(rad), np.sin(rad), 0]) * two / 2
    points = [[-one / 2, 0, 0], [one / 2, 0, 0], (-half).tolist(), half.tolist()]
    found = lines.axes(moved(points, turn, shift))
    assert found.long_mm == pytest.approx(max(one, two))
    assert found.short_mm == pytest.approx(min(one, two))
    assert found.angle_deg == pytest.approx(90 - abs(tilt), abs=1e-6)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ([[5, -5, 0], [8, 5, 0]], "perpendicular"),
        ([[5, -5, 2], [5, 5, 2]], "pass each other at 2.0 mm"),
        ([[25, -5, 0], [25, 5, 0]], "do not cross"),
        ([[5, 3, 0], [5, 9, 0]], "do not cross"),
        ([[5, 3, 0], [5, 3, 0]], "same point"),
    ],
)
def test_axes_that_are_no_recist_pair_are_refused(second: list[list[float]], words: str) -> None:
    with pytest.raises(CannotMeasure, match=words):
        lines.axes([[0, 0, 0], [20, 0, 0], *second])
