"""Displacement fields: direction, there and back, Jacobian, files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from analysis.contracts import Matrix
from analysis.deformation import TOLERANCE_MM, Deformation
from analysis.errors import StepFailed
from analysis.grids import Grid, as_matrix

FIELD_SHAPE = (14, 16, 18)


def oblique_grid() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix() * [4, 5, 6]
    affine[:3, 3] = (-30.0, 12.0, 7.0)
    return Grid(FIELD_SHAPE, affine)


def turned(degrees: float = 25.0) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = (5.0, -8.0, 20.0)
    return as_matrix(matrix)


def wave(grid: Grid, height_mm: float, length_mm: float = 60.0) -> np.ndarray:
    nz, ny, nx = grid.shape
    k, j, i = np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij")
    points = grid.to_lps(np.stack([i, j, k], axis=-1))
    phase = 2 * np.pi * points / length_mm
    u = height_mm * np.stack(
        [np.sin(phase[..., 1]), np.sin(phase[..., 2]), np.sin(phase[..., 0])], axis=-1
    )
    return u.astype(np.float32)


def inner_points(grid: Grid, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(3)
    top = np.array(grid.shape[::-1]) - 1
    return grid.to_lps(rng.uniform(0.25, 0.75, (count, 3)) * top)


def test_a_constant_field_moves_before_the_matrix_is_undone() -> None:
    grid = oblique_grid()
    shift = np.array([3.0, -2.0, 1.5])
    field = Deformation(np.full((*grid.shape, 3), shift, np.float32), grid, turned())
    points = inner_points(grid)
    pull = np.linalg.inv(np.array(turned()))
    expected = (points + shift) @ pull[:3, :3].T + pull[:3, 3]
    assert np.allclose(field.to_moving(points), expected, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.0, 8.0), st.floats(-180.0, 180.0))
def test_there_and_back_agree_to_the_stated_tolerance(height: float, degrees: float) -> None:
    grid = oblique_grid()
    field = Deformation(wave(grid, height), grid, turned(degrees))
    points = inner_points(grid, 60)
    there = field.to_moving(points)
    back = field.to_reference(there)
    again = field.to_moving(back)
    assert np.isfinite(back).all()
    assert np.linalg.norm(again - there, axis=-1).max() <= TOLERANCE_MM + 1e-6
    if height < 5.0:
        assert np.linalg.norm(back - points, axis=-1).max() < 20 * TOLERANCE_MM


def test_a_linear_field_is_interpolated_exactly_and_its_determinant_is_known() -> None:
    grid = oblique_grid()
    nz, ny, nx = grid.shape
    k, j, i = np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij")
    nodes = grid.to_lps(np.stack([i, j, k], axis=-1))
    slope = np.array([[0.2, 0.1, 0.0], [0.0, -0.3, 0.05], [0.1, 0.0, 0.15]])
    field = Deformation((nodes @ slope.T).astype(np.float32), grid)
    points = inner_points(grid)
    assert np.allclose(field.to_moving(points), points + points @ slope.T, atol=1e-4)
    wanted = np.linalg.det(np.eye(3) + slope)
    assert np.allclose(field.jacobian(), wanted, atol=1e-4)
    assert field.smallest_jacobian() == pytest.approx(wanted, abs=1e-4)


def test_outside_the_field_there_is_no_answer_and_half_a_node_beyond_there_is() -> None:
    grid = oblique_grid()
    field = Deformation(wave(grid, 1.0), grid)
    assert np.isfinite(field.to_moving(grid.to_lps([-0.49, 0, 0]))).all()
    assert np.isnan(field.to_moving(grid.to_lps([-0.51, 0, 0]))).all()
    assert np.isnan(field.to_reference(grid.to_lps([-5.0, 0, 0]))).all()
    assert np.isnan(field.to_moving([np.nan, 0.0, 0.0])).all()
    assert field.to_moving(np.empty((0, 3))).shape == (0, 3)


def test_a_fold_is_seen_also_where_central_differences_miss_it() -> None:
    grid = Grid((6, 6, 6), np.diag([2.0, 2.0, 2.0, 1.0]))
    u = np.zeros((6, 6, 6, 3), np.float32)
    u[:, :, 1::2, 0] = -3.0
    field = Deformation(u, grid)
    assert field.jacobian()[2:4, 2:4, 2:4].min() > 0.9
    assert field.smallest_jacobian() < 0
    assert field.folded_share() > 0.1
    assert Deformation(np.zeros_like(u), grid).folded_share() == 0.0


def test_a_file_comes_back_the_same_and_has_the_same_hash_twice(tmp_path: Path) -> None:
    grid = oblique_grid()
    field = Deformation(wave(grid, 2.0), grid, turned())
    (tmp_path / "fields").mkdir()
    record = field.record(tmp_path, tmp_path / "fields" / "one.npz")
    assert record.path == "fields/one.npz"
    assert field.write(tmp_path / "two.npz") == record.sha256
    read = Deformation.read(tmp_path / record.path, sha256=record.sha256)
    assert np.array_equal(read.displacement, field.displacement)
    assert np.array_equal(read.grid.affine, grid.affine)
    assert read.matrix == turned()
    assert not list(tmp_path.rglob("*.part"))


def test_damaged_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    grid = oblique_grid()
    path = tmp_path / "field.npz"
    with pytest.raises(StepFailed) as missing:
        Deformation.read(path)
    assert missing.value.code == "field_missing"
    digest = Deformation(wave(grid, 2.0), grid).write(path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"not a zip"):
        path.write_bytes(data)
        with pytest.raises(StepFailed) as damaged:
            Deformation.read(path)
        assert damaged.value.code == "field_damaged"
    np.savez(path, displacement=np.zeros((2, 2, 2, 3), np.float32), affine=np.eye(4))
    with pytest.raises(StepFailed):
        Deformation.read(path)
    np.savez(path, displacement=np.array([{"a": 1}]), affine=np.eye(4), matrix=np.eye(4))
    with pytest.raises(StepFailed):
        Deformation.read(path)
    Deformation(wave(grid, 2.5), grid).write(path)
    with pytest.raises(StepFailed):
        Deformation.read(path, sha256=digest)


def test_misfits_are_refused() -> None:
    grid = oblique_grid()
    with pytest.raises(ValueError, match="does not fit"):
        Deformation(np.zeros((3, 3, 3, 3), np.float32), grid)
    with pytest.raises(ValueError, match="float32"):
        Deformation(np.zeros((*grid.shape, 3)), grid)  # type: ignore[arg-type]
    broken = np.zeros((*grid.shape, 3), np.float32)
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        Deformation(broken, grid)


def test_the_class_needs_numpy_alone() -> None:
    code = (
        "import sys; import analysis.deformation;"
        "print([m for m in ('SimpleITK', 'scipy', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
