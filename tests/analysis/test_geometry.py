"""Voxels and millimetres: shared vectors, round trips, levels, resampling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from analysis.geometry import (
    Grid,
    Volume,
    as_matrix,
    grid_of,
    isotropic_grid,
    level_grid,
    to_sitk,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "affine.json").read_text())


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.2, 8)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-600, 600)] * 3))
    return Grid(draw(st.tuples(*[st.integers(1, 40)] * 3)), affine)


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_shared_vectors(vector: dict) -> None:
    grid = Grid(tuple(vector["shape"]), np.array(vector["affine"]))
    assert grid.spacing == pytest.approx(vector["spacing"])
    for point in vector["points"]:
        assert grid.to_lps(point["ijk"]) == pytest.approx(point["lps"])
        assert grid.to_index(point["lps"]) == pytest.approx(point["ijk"], abs=1e-9)
    level = level_grid(grid, tuple(vector["level"]["factors"]))
    assert level.shape == tuple(vector["level"]["shape"])
    assert level.affine == pytest.approx(np.array(vector["level"]["affine"]))


@given(grids(), st.tuples(*[st.floats(-50, 50)] * 3))
def test_there_and_back(grid: Grid, ijk: tuple[float, float, float]) -> None:
    assert grid.to_index(grid.to_lps(ijk)) == pytest.approx(ijk, abs=1e-6)


@given(grids())
def test_sitk_holds_the_same_place(grid: Grid) -> None:
    image = to_sitk(Volume(np.zeros(grid.shape, np.uint8), grid, "1"))
    assert grid_of(image).shape == grid.shape
    assert grid_of(image).affine == pytest.approx(grid.affine, abs=1e-6)


@given(grids(), st.tuples(*[st.integers(1, 5)] * 3))
def test_a_level_covers_the_same_box(grid: Grid, factors: tuple[int, int, int]) -> None:
    level = level_grid(grid, factors)
    corner = [-0.5, -0.5, -0.5]
    assert level.to_lps(corner) == pytest.approx(grid.to_lps(corner), abs=1e-6)
    for n, m, f in zip(grid.shape, level.shape, factors, strict=True):
        assert m * f >= n > (m - 1) * f


@given(grids(), st.floats(0.5, 5))
def test_isotropic_grid_keeps_the_corner_and_directions(grid: Grid, spacing: float) -> None:
    cubic = isotropic_grid(grid, spacing)
    assert cubic.spacing == pytest.approx((spacing,) * 3)
    assert cubic.direction == pytest.approx(grid.direction, abs=1e-6)
    assert cubic.to_lps([-0.5] * 3) == pytest.approx(grid.to_lps([-0.5] * 3), abs=1e-6)


def test_voxel_volume() -> None:
    assert Grid((1, 1, 1), np.diag([2.0, 5.0, 10.0, 1.0])).voxel_volume_ml == pytest.approx(0.1)


def test_sheared_affine_is_refused_by_itk_bridge() -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.4
    with pytest.raises(ValueError, match="sheared"):
        to_sitk(Volume(np.zeros((2, 2, 2)), Grid((2, 2, 2), affine), "1"))


def test_as_matrix_wants_four_by_four() -> None:
    with pytest.raises(ValueError, match="4x4"):
        as_matrix(np.eye(3))
