"""One piece resamples: values, field of view, averaging. Labels: ``test_resampling_labels.py``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from analysis import sampling
from analysis.contracts import IDENTITY, Matrix
from analysis.deformation import Deformation
from analysis.geometry import Grid, Volume, as_matrix, isotropic_grid
from analysis.resampling import fill_of, resample
from analysis.sampling import block_means

HU, SUV = "[hnsf'U]", "g/ml{SUVbw}"
NOWHERE = -77.0
rng = np.random.default_rng(11)


@st.composite
def grids(draw: st.DrawFn, spacing: tuple[float, float] = (0.7, 3.0), least: int = 2) -> Grid:
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    sizes = draw(st.tuples(*[st.floats(*spacing)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * sizes
    affine[:3, 3] = draw(st.tuples(*[st.floats(-8, 8)] * 3))
    return Grid(draw(st.tuples(*[st.integers(least, 12)] * 3)), affine)


@st.composite
def motions(draw: st.DrawFn) -> Matrix:
    matrix = np.eye(4)
    angles = draw(st.tuples(*[st.floats(-30, 30)] * 3))
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-6, 6)] * 3))
    return as_matrix(matrix)


def box(shape: tuple[int, int, int], spacing: float = 1.0) -> Grid:
    return Grid(shape, np.diag([spacing, spacing, spacing, 1.0]))


def places(source: Grid, target: Grid, matrix: Matrix = IDENTITY) -> np.ndarray:
    """Where each target voxel lies among the source's voxels, (nz, ny, nx, 3) as (i, j, k)."""
    k, j, i = np.indices(target.shape)
    homogeneous = np.stack([i, j, k, np.ones_like(i)], axis=-1).astype(np.float64)
    chain = np.linalg.inv(source.affine) @ np.linalg.inv(np.array(matrix)) @ target.affine
    return (homogeneous @ chain.T)[..., :3]


def covered(source: Grid, target: Grid, matrix: Matrix = IDENTITY) -> tuple[np.ndarray, np.ndarray]:
    """(inside the outer faces, so close to a face that rounding may decide)."""
    off = np.abs(places(source, target, matrix) - (np.array(source.shape[::-1]) - 1) / 2)
    beyond = (off - np.array(source.shape[::-1]) / 2).max(axis=-1)
    return beyond <= 0, np.abs(beyond) < 1e-5


@settings(max_examples=60, deadline=None)
@given(grids(least=4), st.sampled_from(["linear", "nearest", "cubic"]))
def test_the_same_grid_gives_the_same_voxels(grid: Grid, interpolation: str) -> None:
    array = rng.normal(0, 100, grid.shape).astype(np.float32)
    same, inside = resample(Volume(array, grid, "1"), grid, interpolation=interpolation)
    assert inside.all()
    assert same.array == pytest.approx(array, abs=1e-3 if interpolation == "cubic" else 1e-4)


@settings(max_examples=80, deadline=None)
@given(grids(), grids(), motions())
def test_the_field_of_view_ends_at_the_outer_faces(
    source: Grid, target: Grid, matrix: Matrix
) -> None:
    volume = Volume(rng.uniform(1, 2, source.shape).astype(np.float32), source, "1")
    moved, inside = resample(volume, target, matrix=matrix, fill=NOWHERE)
    expected, unclear = covered(source, target, matrix)
    assert np.array_equal(inside | unclear, expected | unclear)
    assert np.all(moved.array[~inside] == NOWHERE)
    assert np.all((moved.array[inside] >= 0.999) & (moved.array[inside] <= 2.001))


@settings(max_examples=60, deadline=None)
@given(grids(), grids((0.5, 1.2)), motions(), st.sampled_from(["linear", "cubic"]))
def test_a_ramp_in_millimetres_stays_that_ramp(
    source: Grid, target: Grid, matrix: Matrix, interpolation: str
) -> None:
    """Half a voxel from the edge on inwards, where nothing has to be continued."""
    if interpolation == "cubic" and min(source.shape) < 8:
        return
    k, j, i = np.indices(source.shape)
    slope = np.array([3.0, -2.0, 0.5])
    values = source.to_lps(np.stack([i, j, k], -1)) @ slope + 40
    moved, _ = resample(
        Volume(values, source, "1"), target, matrix=matrix, interpolation=interpolation
    )
    where = places(source, target, matrix)
    rim = 3.0 if interpolation == "cubic" else 0.0  # a spline mirrors at the edge
    well = ((where >= rim) & (where <= np.array(source.shape[::-1]) - 1 - rim)).all(axis=-1)
    expected = source.to_lps(where) @ slope + 40
    tolerance = 0.1 if interpolation == "cubic" else 1e-3
    assert moved.array[well] == pytest.approx(expected[well], abs=tolerance)


@settings(max_examples=15, deadline=None)
@given(motions())
def test_there_and_back(matrix: Matrix) -> None:
    """A smooth spot, turned about the middle and shifted, and then back, is as it was."""
    grid = box((25, 25, 25))
    middle = np.eye(4)
    middle[:3, 3] = grid.centre
    motion = np.array(matrix)
    motion[:3, 3] /= 2
    there = middle @ motion @ np.linalg.inv(middle)
    k, j, i = np.indices(grid.shape) - 12
    spot = 100 * np.exp(-(i**2 + j**2 + k**2) / 12.5)
    volume, _ = resample(
        Volume(spot, grid, "1"), grid, matrix=as_matrix(there), interpolation="cubic"
    )
    back = as_matrix(np.linalg.inv(there))
    again, _ = resample(volume, grid, matrix=back, interpolation="cubic")
    below = spot < 90  # the top is cut: the first result held no sample of it
    assert again.array[below] == pytest.approx(spot[below], abs=1.5)


def test_matrix_maps_moving_to_reference() -> None:
    """A bright voxel, moved by +4 mm in x and +2 mm in z, is found there on the reference."""
    grid = box((9, 9, 9), 2.0)
    array = np.zeros(grid.shape, np.float32)
    array[3, 4, 2] = 100
    matrix = np.eye(4)
    matrix[:3, 3] = [4, 0, 2]
    moved, _ = resample(Volume(array, grid, "1"), grid, matrix=as_matrix(matrix))
    assert np.unravel_index(moved.array.argmax(), grid.shape) == (4, 4, 4)
    assert moved.array.max() == pytest.approx(100)


@pytest.mark.parametrize(("unit", "value"), [(HU, -1024.0), (SUV, 0.0), ("Bq/ml", 0.0), ("1", 0.0)])
def test_outside_is_declared_by_unit_and_marked(unit: str, value: float) -> None:
    far = np.eye(4)
    far[0, 3] = 2.0
    moved, inside = resample(Volume(np.ones((3, 3, 3)), box((3, 3, 3)), unit),
                             Grid((3, 3, 3), far))  # fmt: skip
    assert fill_of(unit) == value
    assert np.array_equal(inside, np.broadcast_to([True, False, False], (3, 3, 3)))
    assert np.all(moved.array[~inside] == value)
    assert np.all(moved.array[inside] == 1)


def test_slabs_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = box((11, 12, 13)), box((17, 15, 14), 0.7)
    volume = Volume(rng.normal(size=source.shape), source, "1")
    deformation = some_field(target)
    for more in ({}, {"interpolation": "cubic"}, {"deformation": deformation}):
        whole, covers = resample(volume, target, **more)
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "SLAB_VOXELS", 15 * 14 * 2)
            parts, again = resample(volume, target, **more)
        assert np.array_equal(whole.array, parts.array)
        assert np.array_equal(covers, again)


def some_field(grid: Grid) -> Deformation:
    """A field that is smooth, smaller than ``grid`` and on a turned lattice."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zx", [20, 10], degrees=True).as_matrix() * 2.5
    affine[:3, 3] = [1.0, -1.0, 1.5]
    field = rng.normal(0, 1.0, (4, 4, 5, 3)).astype(np.float32)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("y", 9, degrees=True).as_matrix()
    matrix[:3, 3] = [1, -2, 0.5]
    return Deformation(field, Grid((4, 4, 5), affine), as_matrix(matrix))


@pytest.mark.parametrize("sheared", [False, True])
def test_a_deformed_layer_lies_where_the_deformation_says(sheared: bool) -> None:
    """Against the deformation's own way from point to point, and scipy's interpolation."""
    affine = np.diag([1.1, 0.9, 1.3, 1.0])
    affine[1, 2] = 0.4 if sheared else 0.0
    source, target = Grid((12, 14, 13), affine), box((18, 16, 17), 0.8)
    volume = Volume(rng.normal(size=source.shape), source, HU)
    deformation = some_field(target)
    moved, inside = resample(volume, target, deformation=deformation)
    k, j, i = np.indices(target.shape)
    where = source.to_index(deformation.to_moving(target.to_lps(np.stack([i, j, k], -1))))
    size = np.array(source.shape[::-1])
    expected = np.all((where >= -0.5) & (where <= size - 0.5), axis=-1)  # NaN: no answer
    assert np.array_equal(inside, expected)
    assert 0.1 < inside.mean() < 0.9
    sampled = map_coordinates(volume.array, where[inside][:, ::-1].T, order=1, mode="nearest")
    assert moved.array[inside] == pytest.approx(sampled, abs=1e-4)
    assert np.all(moved.array[~inside] == -1024)


def test_a_field_that_ends_elsewhere_covers_nothing() -> None:
    affine = np.eye(4)
    affine[:3, 3] = 500
    nowhere = Deformation(np.zeros((2, 2, 2, 3), np.float32), Grid((2, 2, 2), affine))
    moved, inside = resample(Volume(np.ones((4, 4, 4)), box((4, 4, 4)), HU), box((3, 3, 3)),
                             deformation=nowhere)  # fmt: skip
    assert not inside.any()
    assert np.all(moved.array == -1024)


def test_a_much_coarser_target_gets_averages() -> None:
    """Stripes one voxel wide come out grey, not as whichever stripe a sample happened to hit."""
    grid = box((24, 24, 24))
    array = np.zeros(grid.shape, np.float32)
    array[:, :, ::2] = 100
    volume = Volume(array, grid, "1")
    coarse, inside = resample(volume, isotropic_grid(grid, 4.0))
    assert inside.all()
    assert coarse.array == pytest.approx(np.full((6, 6, 6), 50.0))
    picked, _ = resample(volume, isotropic_grid(grid, 4.0), averaged=False)
    assert set(np.unique(picked.array)) == {50.0}  # halfway between a bright and a dark stripe
    spot, _ = resample(volume, box((4, 4, 4), 4.0), averaged=False)
    assert np.all(spot.array == 100)  # each sample lies on a bright stripe: what averaging prevents


@settings(max_examples=40, deadline=None)
@given(grids(), st.tuples(*[st.integers(1, 5)] * 3))
def test_block_means_keep_place_and_sum(grid: Grid, factors: tuple[int, int, int]) -> None:
    volume = Volume(rng.normal(size=grid.shape), grid, "1")
    coarse = block_means(volume, factors)
    assert np.allclose(coarse.grid.to_lps([-0.5] * 3), grid.to_lps([-0.5] * 3))
    z, y, x = (n // f - 1 for n, f in zip(grid.shape, factors, strict=True))
    if min(z, y, x) >= 0:  # the last whole block
        fz, fy, fx = factors
        block = volume.array[z * fz : (z + 1) * fz, y * fy : (y + 1) * fy, x * fx : (x + 1) * fx]
        assert coarse.array[z, y, x] == pytest.approx(block.mean(), abs=1e-5)
    last = [(n - 1) // f * f for n, f in zip(grid.shape, factors, strict=True)]
    rest = volume.array[last[0] :, last[1] :, last[2] :]
    assert coarse.array[-1, -1, -1] == pytest.approx(rest.mean(), abs=1e-5)


def test_a_spline_makes_up_no_value() -> None:
    array = np.zeros((9, 9, 9), np.float32)
    array[4, 4, 4] = 10.0
    smooth, _ = resample(Volume(array, box((9, 9, 9)), SUV), box((17, 17, 17), 0.5),
                         interpolation="cubic")  # fmt: skip
    assert smooth.array.min() == 0.0
    assert smooth.array.max() == pytest.approx(10.0)


def test_nearest_keeps_type_and_values() -> None:
    array = np.arange(27, dtype=np.int16).reshape(3, 3, 3)
    picked, _ = resample(Volume(array, box((3, 3, 3)), HU), box((5, 5, 5), 0.6),
                         interpolation="nearest")  # fmt: skip
    assert picked.array.dtype == np.int16
    assert set(np.unique(picked.array)) <= set(range(27)) | {-1024}


def test_what_makes_no_sense_is_refused() -> None:
    grid = box((3, 3, 3))
    volume = Volume(np.ones((3, 3, 3), np.uint8), grid, HU)
    with pytest.raises(ValueError, match="its own matrix"):
        resample(volume, grid, matrix=IDENTITY, deformation=some_field(grid))
    with pytest.raises(ValueError, match="cannot stand for outside"):
        resample(volume, grid, interpolation="nearest")
    with pytest.raises(ValueError, match="4 voxels"):
        resample(volume, grid, interpolation="cubic")
