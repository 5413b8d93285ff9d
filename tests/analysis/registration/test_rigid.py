"""Matrices stay rigid, inverses invert, scales and shears are told apart from turns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from analysis.geometry import FloatArray
from analysis.registration.rigid import (
    angle_degrees,
    apply,
    distances,
    invert,
    is_rigid,
    rigid,
    stretch,
    turn_of,
)

angles = st.floats(-3.0, 3.0)
millimetres = st.floats(-500.0, 500.0)
vectors = st.tuples(angles, angles, angles, millimetres, millimetres, millimetres).map(np.array)
centres = st.tuples(millimetres, millimetres, millimetres).map(np.array)

POINTS = np.array([[0.0, 0, 0], [100, 0, 0], [0, -80, 0], [3, 5, 120]])


def motion(vector: FloatArray, centre: FloatArray, base: FloatArray) -> FloatArray:
    """After ``base``: a rotation vector (rad) about ``centre``, then a shift (mm)."""
    return rigid(Rotation.from_rotvec(vector[:3]), vector[3:], centre) @ base


@given(vectors, vectors, centres)
def test_motions_after_motions_stay_rigid(
    first: FloatArray, second: FloatArray, centre: FloatArray
) -> None:
    once = motion(first, centre, np.eye(4))
    twice = motion(second, centre, once)
    assert is_rigid(once)
    assert is_rigid(twice)
    assert is_rigid(invert(twice))


@given(vectors, centres)
def test_inverse_brings_every_point_back(vector: FloatArray, centre: FloatArray) -> None:
    matrix = motion(vector, centre, np.eye(4))
    assert np.allclose(apply(invert(matrix), apply(matrix, POINTS)), POINTS, atol=1e-8)
    assert np.allclose(invert(matrix), np.linalg.inv(matrix), atol=1e-8)


@given(vectors, centres)
def test_the_turning_point_only_shifts(vector: FloatArray, centre: FloatArray) -> None:
    moved = apply(motion(vector, centre, np.eye(4)), centre[None])[0]
    assert np.allclose(moved, centre + vector[3:], atol=1e-8)


def test_a_mirror_is_not_rigid() -> None:
    assert not is_rigid(np.diag([-1.0, 1.0, 1.0, 1.0]))
    assert not is_rigid(np.diag([1.1, 1.0, 1.0, 1.0]))


def test_angle_and_distance() -> None:
    turn = rigid(Rotation.from_euler("z", 90, degrees=True), np.zeros(3), np.zeros(3))
    assert np.isclose(angle_degrees(turn), 90)
    assert np.allclose(distances(turn, np.eye(4), np.array([[10.0, 0, 0]])), 10 * np.sqrt(2))


@given(st.tuples(angles, angles, angles).map(np.array))
def test_rodrigues_turns_like_scipy(vector: FloatArray) -> None:
    assert np.allclose(turn_of(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


@given(vectors, st.tuples(*[st.floats(0.7, 1.4)] * 3).map(np.array))
def test_scales_are_told_apart_from_turns(vector: FloatArray, scales: FloatArray) -> None:
    matrix = motion(vector, np.zeros(3), np.eye(4)) @ np.diag([*scales, 1.0])
    assert np.allclose(stretch(matrix), np.diag(scales), atol=1e-9)
    assert np.allclose(invert(matrix) @ matrix, np.eye(4), atol=1e-9)
